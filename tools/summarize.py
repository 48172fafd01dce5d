"""Print a table of test results: python tools/summarize.py NAME=METRICS.json [NAME=...].

The files are what `tools/test.py --out` writes.
"""

from mmorderless.commands.summarize import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
