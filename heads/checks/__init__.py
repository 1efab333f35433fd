"""Whether a head does what its name says."""
