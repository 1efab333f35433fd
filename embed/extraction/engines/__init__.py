"""Who encodes what is missing: this process, or workers elsewhere; an engine a file and a line of the registry."""
