"""Workers on other machines: how they are had, given tasks, and replaced when they die or hang."""
