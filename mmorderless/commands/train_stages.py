"""Train several configs in a row, each from the checkpoint of the previous one.

A stage is one run of tools/train.py in a folder of its own. `stage.json` in that folder holds the
stage's settings and, once it is finished, the checkpoint that it hands over; after an interruption
the same command resumes from there.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from mmorderless.runs.config import read_config
from mmorderless.runs.launch import TrainingOptions
from mmorderless.runs.options import parse_training_options
from mmorderless.runs.processes import exclusive, run
from mmorderless.runs.records import training_settings
from mmorderless.runs.shipped import TOOLS
from mmorderless.runs.stage_records import (
    Stage,
    find_checkpoint,
    finished_checkpoints,
    hand_over_of,
    write_record,
)

_LIST_SIGNS = set(",()[]")

_SET_PER_STAGE = ("launcher", "local_rank", "resume", "work_dir")
"""Options of tools/train.py that tools/train_stages.py sets for each stage."""


def stages_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/train_stages.py, which leaves other options unparsed."""
    parser = argparse.ArgumentParser(
        description="Train several configs in a row, each from the checkpoint of the previous one. "
        "After an interruption the same command resumes; finished stages are not trained again.",
        epilog="Further options, such as --amp, are passed to tools/train.py in every stage.",
        allow_abbrev=False,
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="a stage's config file")
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="each stage trains in DIR/<name of its config>; without this option DIR is "
        "work_dirs/<name of the last config>_stages",
    )
    launcher = parser.add_mutually_exclusive_group()
    launcher.add_argument(
        "--nproc", metavar="N", help="train in N processes, with tools/dist_train.sh"
    )
    launcher.add_argument(
        "--slurm",
        metavar="PARTITION",
        help="train on a Slurm cluster, with tools/slurm_train.sh and its environment variables",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of every stage's config to override",
    )
    parser.add_argument(
        "--stage-options",
        nargs="+",
        action="append",
        default=[],
        metavar=("N", "KEY=VALUE"),
        help="settings to override in stage N only; may be given several times",
    )
    return parser


def read_stages(argv: Sequence[str] | None = None) -> tuple[list[Stage], argparse.Namespace]:
    """Read the command line and every stage's config.

    Raises:
        FileNotFoundError: a config is missing.
        ValueError: an option or a config cannot be used in stages.
    """
    args, flags = stages_parser().parse_known_args(argv)
    names = [Path(config).stem for config in args.configs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"two stages are called {name}, the name of their config, and would share a "
                "folder; rename one of the configs"
            )
    if args.nproc is not None and not (args.nproc.isdigit() and int(args.nproc) > 0):
        raise ValueError(f"--nproc must be a positive number of processes, got {args.nproc}")
    work_dir = Path(args.work_dir or f"work_dirs/{names[-1]}_stages")
    if not _LIST_SIGNS.isdisjoint("".join([str(work_dir), *names])):
        raise ValueError(
            f"--cfg-options load_from={work_dir / names[0]}/... would be read as a list; choose a "
            "--work-dir, and names of configs, without any of ,()[]"
        )
    own_options = options_by_stage(args.stage_options, len(names))
    processes = number_of_processes(args)
    stages = []
    for i, (config, name) in enumerate(zip(args.configs, names)):
        options = args.cfg_options + own_options[i]
        stage = read_stage(config, work_dir / name, flags, options, has_start=i > 0)
        # The batch size is per process: the number of processes changes the training.
        stages.append(replace(stage, settings=stage.settings | {"processes": processes}))
    return stages, args


def number_of_processes(args: argparse.Namespace) -> int:
    """Return the number of processes of a stage: 1, --nproc times NNODES, or GPUS under Slurm.

    Raises:
        ValueError: the environment variable is not a positive number.
    """
    if args.slurm is None and args.nproc is None:
        return 1
    name, default = ("NNODES", "1") if args.slurm is None else ("GPUS", "8")
    number = os.environ.get(name, default)
    if not number.isdigit() or int(number) < 1:
        raise ValueError(f"the environment variable {name} must be a positive number, got {number}")
    return int(number) * int(args.nproc or 1)


def options_by_stage(given: Sequence[Sequence[str]], num_stages: int) -> list[list[str]]:
    """Group the words of each `--stage-options N KEY=VALUE ...` by stage.

    Raises:
        ValueError: there is no stage N.
    """
    options: list[list[str]] = [[] for _ in range(num_stages)]
    for number, *words in given:
        if not (number.isdigit() and 1 <= int(number) <= num_stages and words):
            raise ValueError(
                f"--stage-options expects the number of a stage (1 to {num_stages}) and "
                f"KEY=VALUE, got {shlex.join([number, *words])}"
            )
        options[int(number) - 1].extend(words)
    return options


def read_stage(
    config: str, folder: Path, flags: list[str], cfg_options: list[str], has_start: bool
) -> Stage:
    """Read a stage's config with its options."""
    given = ["--cfg-options", *cfg_options] if cfg_options else []
    options = parse_training_options([config, *flags, *given])
    for name in _SET_PER_STAGE:
        if getattr(options, name) != getattr(TrainingOptions(config), name):
            raise ValueError(
                f"tools/train_stages.py sets --{name.replace('_', '-')} for every stage; "
                "remove the option"
            )
    if has_start and "load_from" in (options.cfg_options or {}):
        raise ValueError(
            f"{config} starts from the previous stage, not from "
            f"load_from={options.cfg_options['load_from']}; for the first stage use "
            "--stage-options 1 load_from=FILE"
        )
    cfg = read_config(config, options.cfg_options)
    return Stage(
        config,
        folder,
        flags,
        cfg_options,
        training_settings(cfg, options),
        cfg.get("load_from"),
        hand_over_of(cfg, config, options.no_validate),
    )


def command_of(stage: Stage, start: str | None, nproc: str | None, slurm: str | None) -> list[str]:
    """Return the command that trains a stage or resumes it."""
    options = ["--resume", *stage.flags]
    cfg_options = list(stage.cfg_options)
    if start is not None:
        cfg_options.append(f"load_from={start}")
    if cfg_options:
        options += ["--cfg-options", *cfg_options]
    folder = str(stage.folder)
    if slurm is not None:
        script = ["bash", str(TOOLS / "slurm_train.sh"), slurm, stage.folder.name]
        return [*script, stage.config, folder, *options]
    if nproc is not None:
        script = ["bash", str(TOOLS / "dist_train.sh"), stage.config, nproc]
    else:
        script = [sys.executable, "-m", "mmorderless", "train", stage.config]
    return [*script, "--work-dir", folder, *options]


def train_stages(argv: Sequence[str] | None = None) -> int:
    """Train every stage that is not finished; return the exit code of one that failed, or 0."""
    stages, args = read_stages(argv)
    with exclusive(stages[0].folder.parent) as lock:
        return _train_unfinished(stages, args, lock)


def _train_unfinished(stages: Sequence[Stage], args: argparse.Namespace, lock: IO[str]) -> int:
    checkpoints = finished_checkpoints(stages)
    for i, stage in enumerate(stages):
        title = f"stage {i + 1} of {len(stages)} ({stage.folder.name})"
        if i < len(checkpoints):
            print(f"== {title}: already finished", flush=True)
            continue
        start = checkpoints[-1] if checkpoints else None
        command = command_of(stage, start, args.nproc, args.slurm)
        print(f"== {title}: {shlex.join(command)}", flush=True)
        write_record(stage, start, None)
        try:
            code, what = run(command, lock), "failed"
        except KeyboardInterrupt:
            code, what = 130, "was interrupted"
        if code:
            print(
                f"error: {title} {what} (exit code {code}); run the same command to resume",
                file=sys.stderr,
                flush=True,
            )
            return code
        checkpoints.append(find_checkpoint(stage))
        write_record(stage, start, checkpoints[-1])
    print("== checkpoints of the stages")
    for stage, checkpoint in zip(stages, checkpoints):
        print(f"{stage.folder.name}: {checkpoint}")
    return 0
