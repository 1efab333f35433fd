"""Which products a person should label next, and the page on which that is done."""
