"""Evaluate how methods complete label sets: python tools/complete.py --work-dir COMPARISON."""

from mmorderless.commands.complete import complete
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(complete)
