"""The heads, one a file, and what makes one head of several."""
