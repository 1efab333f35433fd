"""Columns of a catalogue as a modality."""
