"""Train configs in a row: python tools/train_stages.py CONFIG [CONFIG ...] [--nproc N]."""

from mmorderless.commands.train_stages import train_stages
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(train_stages)
