"""Check the datasets of a config: python tools/check_dataset.py CONFIG [--images | --labels-only].

Prints for each split what is in it, then everything that is wrong; the exit code is 1 where
something is.
"""

from mmorderless.commands.check_dataset import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
