"""Frozen networks that turn one content into one vector."""
