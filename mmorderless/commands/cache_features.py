"""Cache the feature maps of a frozen backbone."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmorderless.inference.feature_maps import cache_features
from mmorderless.runs.config import read_config
from mmorderless.runs.files import naming
from mmorderless.runs.options import add_config_options
from mmorderless.runs.processes import exclusive


def main(argv: Sequence[str] | None = None) -> None:
    """Cache the feature maps of a config's datasets."""
    parser = argparse.ArgumentParser(description="Store a frozen backbone's feature maps.")
    parser.add_argument("config", help="config whose backbone and datasets are used")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the cache")
    parser.add_argument("--checkpoint", help="weights of the backbone")
    add_config_options(parser)
    args = parser.parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    with naming(args.out), exclusive(Path(args.out), "--out"):
        splits = cache_features(cfg, Path(args.out), args.checkpoint)
    print(f"{args.out} holds the features of: {', '.join(splits)}")
