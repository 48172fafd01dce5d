"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]]."""

from mmorderless.commands.train import train
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(train)
