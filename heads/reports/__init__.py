"""The HTML pages of a run and of an ablation."""
