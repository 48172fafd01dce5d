"""Print a table of test results: python tools/summarize.py NAME=METRICS.json [NAME=...]."""

from mmorderless.commands.summarize import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
