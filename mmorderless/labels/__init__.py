"""Label sets: tokens, lists and matrices, checks, fixed orders. NumPy, SciPy and torch only."""
