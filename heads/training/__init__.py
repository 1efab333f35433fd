"""Training stacks of heads as one tensor program."""
