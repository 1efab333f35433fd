"""The formats that a catalogue is kept in, one a file."""
