"""How good predictions are, and how sure one can be of it; on arrays alone."""
