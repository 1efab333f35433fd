"""The contents that a catalogue names: where each is read, and what became of it."""
