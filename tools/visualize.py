"""Draw how a model decodes images: python tools/visualize.py CONFIG CHECKPOINT --index I ..."""

from mmorderless.commands.visualize import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
