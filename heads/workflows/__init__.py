"""Whole jobs, from a cache to a folder of results: train, ablate, audit, review, export, predict."""
