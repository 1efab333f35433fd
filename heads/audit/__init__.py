"""What is wrong in a catalogue: labels, copies, pictures and titles, classes; each finding with its evidence."""
