"""Speed and memory of this package, next to plain baselines: what tools/benchmark.py measures.

The baselines (`plain_*.py`) are what a researcher would write first: clear, correct, and checked to
give the same results before anything is timed.
"""
