"""Heads behind the interface of scikit-learn."""
