"""Several trainings in a row, each from the checkpoint of the one before: tools/train_stages.py.

A stage is one run of tools/train.py in a folder of its own. `stage.json` in that folder holds the
stage's settings from its start, and the checkpoint that it hands over from its end; with it the
same command goes on after an interruption.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from .launch import existing_checkpoint, last_checkpoint, read_config, training_parser

RECORD = "stage.json"
HAND_OVER = ("best", "last")

PER_STAGE = {"work_dir", "resume", "launcher", "local_rank"}
"""Options of tools/train.py that every stage gets from here."""

PLACES = PER_STAGE | {"config", "load_from", "cfg_options", "no_pin_memory"}
SPEED = {"num_workers", "persistent_workers", "no_persistent_workers", "pin_memory"}
"""With `PLACES`: what may change between two calls, since it does not change the result."""

SECONDS_TO_END = 10.0

_LIST_SIGNS = set(",()[]")


@dataclass(frozen=True)
class Stage:
    """One of the trainings.

    Attributes:
        config: path of its config.
        folder: its work dir.
        flags: options for tools/train.py but `--cfg-options`.
        cfg_options: the words KEY=VALUE after `--cfg-options`.
        settings: all that its result depends on but the weights it starts from; as JSON gives it.
        load_from: weights that the config itself names to start from.
        hand_over: `best` or `last`, which checkpoint the next stage starts from.
    """

    config: str
    folder: Path
    flags: list[str]
    cfg_options: list[str]
    settings: dict[str, Any]
    load_from: str | None
    hand_over: str


# Options ----------------------------------------------------------------------------------------


def stages_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/train_stages.py; it leaves options of tools/train.py over."""
    parser = argparse.ArgumentParser(
        description="Train one config after the other, each from the checkpoint of the one before. "
        "The same command goes on after an interruption: finished stages are not trained again.",
        epilog="Further options, such as --amp, go to tools/train.py of every stage.",
        allow_abbrev=False,
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="a stage's config file")
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="each stage trains in DIR/<name of its config>; work_dirs/<name of the last>_stages "
        "unless given",
    )
    launcher = parser.add_mutually_exclusive_group()
    launcher.add_argument(
        "--nproc", metavar="N", help="train in N processes, by tools/dist_train.sh"
    )
    launcher.add_argument(
        "--slurm",
        metavar="PARTITION",
        help="train on a Slurm cluster, by tools/slurm_train.sh; GPUS and the like as there",
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
        help="settings of stage N alone to override; may be given several times",
    )
    return parser


def read_stages(argv: Sequence[str] | None = None) -> tuple[list[Stage], argparse.Namespace]:
    """Read the command line and every stage's config.

    Args:
        argv: the command line's arguments.

    Returns:
        The stages, and what the parser understood.

    Raises:
        FileNotFoundError: a config is missing.
        ValueError: an option or a config does not fit a training in stages.
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
        # The batch is that of one process, so that their number changes the training.
        stages.append(replace(stage, settings=stage.settings | {"processes": processes}))
    return stages, args


def number_of_processes(args: argparse.Namespace) -> int:
    """Return how many processes train a stage, by the options and, as the launchers, by GPUS and
    NNODES.

    Raises:
        ValueError: the environment variable is no number.
    """
    name, default = ("NNODES", "1") if args.slurm is None else ("GPUS", "8")
    number = os.environ.get(name, default)
    if not number.isdigit() or int(number) < 1:
        raise ValueError(f"the environment variable {name} must be a positive number, got {number}")
    return int(number) * (int(args.nproc or 1) if args.slurm is None else 1)


def options_by_stage(given: Sequence[Sequence[str]], num_stages: int) -> list[list[str]]:
    """Sort the words of each `--stage-options N KEY=VALUE ...` by their stage.

    Raises:
        ValueError: N is no stage.
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
    """Read a stage's config with its options.

    Args:
        config: path of the config.
        folder: the stage's work dir.
        flags: options for tools/train.py but `--cfg-options`.
        cfg_options: the words KEY=VALUE.
        has_start: whether a stage before gives it the weights to start from.
    """
    given = ["--cfg-options", *cfg_options] if cfg_options else []
    args = training_parser().parse_args([config, *flags, *given])
    defaults = training_parser().parse_args([config])
    for name in sorted(PER_STAGE):
        if getattr(args, name) != getattr(defaults, name):
            raise ValueError(
                f"every stage gets its --{name.replace('_', '-')} from tools/train_stages.py; "
                "leave the option out"
            )
    if has_start and "load_from" in (args.cfg_options or {}):
        raise ValueError(
            f"{config} starts from the stage before, not from "
            f"load_from={args.cfg_options['load_from']}; for the first stage say "
            "--stage-options 1 load_from=FILE"
        )
    cfg = read_config(config, args.cfg_options)
    return Stage(
        config,
        folder,
        flags,
        cfg_options,
        settings_of(cfg, args),
        cfg.get("load_from"),
        hand_over_of(cfg, config, args.no_validate),
    )


def settings_of(cfg: Config, args: argparse.Namespace) -> dict[str, Any]:
    """Return all that a training's result depends on, as JSON gives it.

    Args:
        cfg: the config with `--cfg-options` merged in.
        args: what the parser of tools/train.py understood.
    """
    settings = {key: value for key, value in cfg.to_dict().items() if key not in PLACES}
    for key, value in settings.items():
        if key.endswith("_dataloader") and value:
            settings[key] = {name: value[name] for name in value if name not in SPEED}
    options = {key: value for key, value in vars(args).items() if key not in PLACES | SPEED}
    return json.loads(json.dumps(settings | {"options": options}, default=repr))


def hand_over_of(cfg: Config, config: str, no_validate: bool) -> str:
    """Return which checkpoint a stage hands over, having checked that it will be written.

    Raises:
        ValueError: there will be no such checkpoint.
    """
    hand_over = cfg.get("hand_over", "last")
    if hand_over not in HAND_OVER:
        raise ValueError(f"hand_over in {config} must be 'best' or 'last', got {hand_over!r}")
    checkpoint = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    validates = cfg.get("val_cfg") is not None and not no_validate
    if hand_over == "best" and not (validates and checkpoint.get("save_best")):
        raise ValueError(
            f"{config} hands over its best checkpoint, which needs validation and "
            "default_hooks.checkpoint.save_best; restore them, or set hand_over=last"
        )
    return hand_over


# Progress ---------------------------------------------------------------------------------------


def read_record(stage: Stage) -> dict[str, Any] | None:
    """Return what `stage.json` holds, None for a stage of which nothing is to be kept.

    Raises:
        ValueError: the folder holds a training that did not start as a stage.
    """
    file = stage.folder / RECORD
    started = (stage.folder / "last_checkpoint").is_file()
    if not file.is_file():
        if started:
            raise ValueError(
                f"{stage.folder} holds a training that tools/train_stages.py did not start; "
                "choose another --work-dir"
            )
        return None
    try:
        record = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{file} is damaged ({error}); remove {stage.folder} to train this stage anew"
        ) from error
    return record if started or record["checkpoint"] else None


def write_record(stage: Stage, start: str | None, checkpoint: str | None) -> None:
    """Write `stage.json`.

    Args:
        stage: the stage.
        start: the checkpoint that it starts from.
        checkpoint: the one that it hands over; None before its end.
    """
    record = {
        "settings": settings_from(stage, start),
        "checkpoint": checkpoint and os.path.relpath(checkpoint, stage.folder),
    }
    stage.folder.mkdir(parents=True, exist_ok=True)
    unfinished = stage.folder / f"{RECORD}.{os.getpid()}"
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(stage.folder / RECORD)


def settings_from(stage: Stage, start: str | None) -> dict[str, Any]:
    """Return a stage's settings with the weights that it starts from, as `stage.json` has them."""
    # Relative, so that the folder of all stages may be moved.
    load_from = stage.load_from if start is None else os.path.relpath(start, stage.folder)
    return stage.settings | {"load_from": load_from}


def finished_checkpoints(stages: Sequence[Stage]) -> list[str]:
    """Return the checkpoints of the stages that are finished, in order.

    Raises:
        ValueError: the others cannot go on: settings have changed, or a stage before was removed.
        FileNotFoundError: a checkpoint is gone.
    """
    checkpoints: list[str] = []
    for i, stage in enumerate(stages):
        record = read_record(stage)
        if record is None:
            continue
        remedy = f"choose another --work-dir, or remove {stage.folder} to train this stage anew"
        if len(checkpoints) < i:
            raise ValueError(
                f"{stage.folder} started from a stage that is no longer finished, or is another "
                f"one now ({stages[i - 1].folder}); {remedy}"
            )
        now = settings_from(stage, checkpoints[-1] if checkpoints else None)
        changes = list(differences(record["settings"], now))
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise ValueError(
                f"{stage.folder} was trained with other settings ({'; '.join(changes[:3])}{more}); "
                f"undo the change, or {remedy}"
            )
        if record["checkpoint"]:
            checkpoint = os.path.normpath(stage.folder / record["checkpoint"])
            if not Path(checkpoint).is_file():
                raise FileNotFoundError(f"{checkpoint} is gone; put it back, or {remedy}")
            checkpoints.append(existing_checkpoint(checkpoint))
    return checkpoints


def differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Say in which places two nested settings differ, one after the other: `a.b: 1 → 2`.

    Args:
        before: what JSON can hold.
        now: the same.
        key: dotted key of the place.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            place = f"{key}.{name}" if key else name
            yield from differences(before.get(name), now.get(name), place)
    elif before != now:
        shown = [
            value if len(value) <= 60 else f"{value[:57]}..." for value in map(str, (before, now))
        ]
        yield f"{key}: {' → '.join(shown)}"


def find_checkpoint(stage: Stage) -> str:
    """Return the checkpoint that a stage hands over at its end.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several, or it is damaged.
    """
    if stage.hand_over == "last":
        found = last_checkpoint(stage.folder)
        if found is None:
            raise FileNotFoundError(
                f"the training in {stage.folder} wrote no checkpoint to hand over; set "
                "default_hooks.checkpoint.save_last=True"
            )
        # mmengine notes the absolute path; this one is as the command line has the folder.
        path = os.path.normpath(stage.folder / os.path.relpath(found, stage.folder))
        return existing_checkpoint(path)
    best = sorted(map(str, stage.folder.glob("best_*.pth")))
    noted = noted_best(stage)
    if noted in best:
        return existing_checkpoint(noted)
    if not best:
        raise FileNotFoundError(
            f"there is no best_*.pth in {stage.folder} to hand over; validate within the training "
            "(train_cfg.val_interval), or set hand_over=last"
        )
    if len(best) > 1:
        raise ValueError(
            f"cannot tell which of {', '.join(best)} is the best checkpoint to hand over; remove "
            "the others"
        )
    return existing_checkpoint(best[0])


def noted_best(stage: Stage) -> str | None:
    """Return the best checkpoint by the notes of the last one, in the stage's folder.

    A folder that was moved in the middle of a training may hold an earlier best one, too.
    """
    last = last_checkpoint(stage.folder)
    if last is None:
        return None
    notes = CheckpointLoader.load_checkpoint(last, map_location="cpu", logger=None)
    best = notes.get("message_hub", {}).get("runtime_info", {}).get("best_ckpt")
    return best and str(stage.folder / Path(best).name)


# Training ---------------------------------------------------------------------------------------


def command_of(
    stage: Stage, start: str | None, tools: Path, nproc: str | None, slurm: str | None
) -> list[str]:
    """Return the command that trains a stage, or goes on with it.

    Args:
        stage: the stage.
        start: the checkpoint that it starts from.
        tools: folder of the training scripts.
        nproc: number of processes, None for tools/train.py alone.
        slurm: partition of a Slurm cluster.
    """
    options = ["--resume", *stage.flags]
    cfg_options = list(stage.cfg_options)
    if start is not None:
        cfg_options.append(f"load_from={start}")
    if cfg_options:
        options += ["--cfg-options", *cfg_options]
    folder = str(stage.folder)
    if slurm is not None:
        script = ["bash", str(tools / "slurm_train.sh"), slurm, stage.folder.name]
        return [*script, stage.config, folder, *options]
    if nproc is not None:
        script = ["bash", str(tools / "dist_train.sh"), stage.config, nproc]
    else:
        script = [sys.executable, str(tools / "train.py"), stage.config]
    return [*script, "--work-dir", folder, *options]


def run(command: Sequence[str]) -> int:
    """Run a command to its end, a signal to end included, and return its exit code as a shell does.

    Raises:
        KeyboardInterrupt: there was one, and the command has ended.
    """
    process = subprocess.Popen(command, env={"PYTHON": sys.executable, **os.environ})
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # ^C reaches the command as well, which is to end by itself.
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def train_stages(argv: Sequence[str] | None = None, *, tools: Path) -> int:
    """Train every stage that is not finished: the whole of tools/train_stages.py.

    Args:
        argv: the command line's arguments.
        tools: folder of the training scripts.

    Returns:
        The exit code: that of the stage that failed, or 0.
    """
    stages, args = read_stages(argv)
    checkpoints = finished_checkpoints(stages)
    for i, stage in enumerate(stages):
        title = f"stage {i + 1} of {len(stages)} ({stage.folder.name})"
        if i < len(checkpoints):
            print(f"== {title}: finished before", flush=True)
            continue
        start = checkpoints[-1] if checkpoints else None
        command = command_of(stage, start, tools, args.nproc, args.slurm)
        print(f"== {title}: {shlex.join(command)}", flush=True)
        write_record(stage, start, None)
        try:
            code, what = run(command), "failed"
        except KeyboardInterrupt:
            code, what = 130, "was interrupted"
        if code:
            print(
                f"error: {title} {what} (exit code {code}); the same command goes on from there",
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
