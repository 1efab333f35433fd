"""Reading a catalogue: a table of products, whatever it is kept in."""
