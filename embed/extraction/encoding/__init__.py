"""Encoders at work: batches of contents in, parts of the journal out."""
