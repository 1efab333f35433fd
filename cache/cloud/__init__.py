"""Object storage: buckets, local copies of what is in them, and caches that stand in one."""
