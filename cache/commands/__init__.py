"""The commands of a cache: `cache-info`, `cache-verify`, `cache-merge`, `cache-gc`, `cache-export`, `cache-import`."""
