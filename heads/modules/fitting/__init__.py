"""What heads that are fitted at one go have in common."""
