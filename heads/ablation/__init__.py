"""Many configurations on the same folds, and their ranking."""
