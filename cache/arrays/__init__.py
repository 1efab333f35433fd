"""Columns as long as a catalogue, in arrays: keys, hashes, texts, statuses."""
