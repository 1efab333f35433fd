"""The sealed cache and its journal as one: what is known, what is missing, and sealing both into a new file."""
