"""Whole jobs, from a cache to a run folder: train, ablate, predict."""
