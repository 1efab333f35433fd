"""The formats that vectors are exchanged in, one a file."""
