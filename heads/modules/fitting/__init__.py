"""What heads that are fitted without steps have in common, and what is fitted to a head's answers afterwards."""
