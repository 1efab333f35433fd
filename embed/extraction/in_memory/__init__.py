"""Vectors of what is in memory, through a cache: any model, lists of contents, products."""
