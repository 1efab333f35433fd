"""What an encoder is, as data: what its spec is computed from, and hints of it."""
