"""Measure speed and memory next to plain baselines: python tools/benchmark.py [PART ...].

Prints a table per part (alignment, decoder, train_step, predict, metrics, data, growth,
complexity), medians ± interquartile range; --out writes all samples, the machine and the versions
as JSON.
"""

from benchmarks.command import main

from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
