"""Tag photos in the browser: python tools/tag.py CONFIG CHECKPOINT [IMAGES...]."""

from mmorderless.commands.tag import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
