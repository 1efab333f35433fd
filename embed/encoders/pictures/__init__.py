"""From a picture to a network's input, and what networks of pictures need besides."""
