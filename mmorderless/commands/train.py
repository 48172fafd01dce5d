"""Command line of tools/train.py."""

import os
from collections.abc import Sequence

from mmorderless.runs.launch import build_runner, training_config
from mmorderless.runs.options import training_parser


def train(argv: Sequence[str] | None = None) -> None:
    """Train: the whole of tools/train.py.

    Args:
        argv: the command line's arguments.
    """
    args = training_parser().parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    build_runner(training_config(args)).train()
