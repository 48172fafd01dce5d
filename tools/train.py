"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]]."""

from mmorderless.errors import run_tool
from mmorderless.launch import train

if __name__ == "__main__":
    run_tool(train)
