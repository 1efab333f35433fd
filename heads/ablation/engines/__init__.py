"""Where the jobs of an ablation are trained: here, or by workers elsewhere; an engine a file and a line of registry."""
