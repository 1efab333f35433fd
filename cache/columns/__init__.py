"""What a catalogue's columns are for and hold: names, types, labels, groups, leaks."""
