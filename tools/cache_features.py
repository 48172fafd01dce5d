"""Store a frozen backbone's feature maps: python tools/cache_features.py CONFIG --out DIR."""

from mmorderless.commands.cache_features import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
