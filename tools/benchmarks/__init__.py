"""What tools/benchmark.py measures: each part runs this package beside a plain reference.

The references (`plain_*.py`) are what a researcher would write first: clear, correct, and checked
to give the same results before anything is timed. `import mmorderless` does not import this.
"""
