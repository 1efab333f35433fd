"""Answers of trained heads: to the products of a cache, and to raw ones, which are encoded first."""
