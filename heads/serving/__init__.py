"""A run behind HTTP: products in, answers, explanations and similar products out."""
