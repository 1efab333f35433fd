"""The journal beside a sealed cache: immutable parts, from one process, shards, or a bucket."""
