"""What heads learn from: vectors, labels, metadata, splits."""
