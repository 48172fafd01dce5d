"""Train a model."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from mmorderless.runs.distributed import is_first_process
from mmorderless.runs.files import naming
from mmorderless.runs.launch import build_runner, training_config
from mmorderless.runs.options import parse_training_options
from mmorderless.runs.processes import exclusive


def train(argv: Sequence[str] | None = None) -> None:
    """Train the model of a config, alone in its work dir; or print the config of the run."""
    options = parse_training_options(argv)
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    cfg = training_config(options)
    if options.print_config:
        print(cfg.pretty_text)
        return
    # The other processes wait for the first one, which the launcher ends with it.
    alone = is_first_process(cfg.launcher)
    with naming(cfg.work_dir), exclusive(Path(cfg.work_dir)) if alone else nullcontext():
        build_runner(cfg).train()
