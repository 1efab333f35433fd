"""The file format: its layout, what is checked as it is read, how it is written."""
