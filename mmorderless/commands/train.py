"""Train a model."""

import os
from collections.abc import Sequence

from mmorderless.runs.launch import build_runner, training_config
from mmorderless.runs.options import parse_training_options


def train(argv: Sequence[str] | None = None) -> None:
    """Train the model of a config."""
    options = parse_training_options(argv)
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    build_runner(training_config(options)).train()
