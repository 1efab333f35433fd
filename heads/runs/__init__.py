"""The folders that results are kept in."""
