"""Check the datasets of a config: python tools/check_dataset.py CONFIG [--images]."""

from mmorderless.commands.check_dataset import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
