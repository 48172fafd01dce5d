"""Compare methods on one dataset: python tools/compare.py CONFIG [--methods M ...]."""

from functools import partial
from pathlib import Path

from mmorderless.commands.compare import compare
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(partial(compare, tools=Path(__file__).parent))
