"""The sealed cache: products, and vectors by rows."""
