"""From vectors and labels to fitted heads and their scores."""
