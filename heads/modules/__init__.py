"""The heads themselves, and how one is saved."""
