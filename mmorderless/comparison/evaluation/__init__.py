"""Evaluate and time the runs of a comparison."""
