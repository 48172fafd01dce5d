"""Comparisons of methods on one dataset: runs, evaluation, report."""
