"""Check that a GPU gives what the CPU gives, and how fast: python tools/check_gpu.py [--only NAME].

Prints a line per check, PASS, FAIL, INFO or SKIP, and exits with 1 if one failed. Without a GPU the
checks run at tiny sizes, which only shows that they run.
"""

from benchmarks.gpu.command import main

from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
