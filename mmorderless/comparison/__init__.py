"""Comparisons of methods on one dataset: their results, tables, figures and report."""
