"""Looking at a catalogue before it is paid for."""
