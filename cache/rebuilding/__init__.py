"""New caches made of whole ones: several merged, or one without what no product uses."""
