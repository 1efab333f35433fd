"""What a run finds out about its heads, once they are trained."""
