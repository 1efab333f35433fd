"""Which rows stand together, and on which side of a split."""
