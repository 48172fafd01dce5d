"""Compare methods on one dataset: python tools/compare.py CONFIG [--methods M ...]."""

from mmorderless.commands.compare import compare
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(compare)
