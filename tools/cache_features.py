"""Store a frozen backbone's feature maps: python tools/cache_features.py CONFIG --out DIR."""

from mmorderless.errors import run_tool
from mmorderless.feature_cache import main

if __name__ == "__main__":
    run_tool(main)
