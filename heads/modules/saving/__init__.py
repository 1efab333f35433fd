"""Heads as files: written, checked, loaded, and asked for answers."""
