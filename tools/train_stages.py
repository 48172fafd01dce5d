"""Train configs in a row: python tools/train_stages.py CONFIG [CONFIG ...] [--nproc N]."""

from functools import partial
from pathlib import Path

from mmorderless.commands.train_stages import train_stages
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(partial(train_stages, tools=Path(__file__).parent))
