"""The commands `embed-extract` and `embed-inspect`."""
