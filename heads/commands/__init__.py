"""The commands of heads, and what they print."""
