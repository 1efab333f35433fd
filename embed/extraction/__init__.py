"""The extraction loop: plan, read, prepare, encode, publish, seal."""
