"""What heads are built of: layers, dropout, scaling, tokens."""
