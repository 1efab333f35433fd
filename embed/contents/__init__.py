"""What one content is: a picture or a text, its key, and why it may have none."""
