"""Where the pictures of a catalogue's rows are: paths made of cells, cells of several pictures, and pictures missed."""
