"""Record training stages, and find the checkpoints that they hand over."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmorderless.runs.checkpoint_files import existing_checkpoint, last_checkpoint
from mmorderless.runs.records import differences, raise_if_changed, read_json, write_json

RECORD = "stage.json"
HAND_OVER = ("best", "last")


@dataclass(frozen=True)
class Stage:
    """One training of several in a row.

    Attributes:
        config: path of its config.
        folder: its work dir.
        flags: options for tools/train.py except `--cfg-options`.
        cfg_options: the words KEY=VALUE after `--cfg-options`.
        settings: settings that its result depends on, except the weights it starts from; in JSON
            types.
        load_from: weights to start from, as the config names them.
        hand_over: which checkpoint the next stage starts from, `best` or `last`.
    """

    config: str
    folder: Path
    flags: list[str]
    cfg_options: list[str]
    settings: dict[str, Any]
    load_from: str | None
    hand_over: str


def hand_over_of(cfg: Config, config: str, no_validate: bool) -> str:
    """Return which checkpoint a stage hands over, `best` or `last`.

    Raises:
        ValueError: the training will not write this checkpoint.
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


def read_record(stage: Stage) -> dict[str, Any] | None:
    """Read `stage.json`; None for a stage that has no checkpoint yet.

    Raises:
        ValueError: the file is damaged, or the folder holds a training that was not a stage.
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
    record = read_json(file)
    if record is None:
        raise ValueError(
            f"{file} is damaged or was not written by tools/train_stages.py; remove {stage.folder} "
            "to train this stage again"
        )
    return record if started or record["checkpoint"] else None


def write_record(stage: Stage, start: str | None, checkpoint: str | None) -> None:
    """Write `stage.json`."""
    record = {
        "settings": settings_from(stage, start),
        "checkpoint": checkpoint and os.path.relpath(checkpoint, stage.folder),
    }
    write_json(stage.folder / RECORD, record)


def settings_from(stage: Stage, start: str | None) -> dict[str, Any]:
    """Return a stage's settings with the weights that it starts from, as in `stage.json`."""
    # A relative path, so that the folder of all stages may be moved.
    load_from = stage.load_from if start is None else os.path.relpath(start, stage.folder)
    return stage.settings | {"load_from": load_from}


def finished_checkpoints(stages: Sequence[Stage]) -> list[str]:
    """Return the checkpoints of the finished stages, in order.

    Raises:
        ValueError: a stage cannot be resumed: its settings have changed, or an earlier stage was
            removed.
        FileNotFoundError: a checkpoint is missing.
    """
    checkpoints: list[str] = []
    for i, stage in enumerate(stages):
        record = read_record(stage)
        if record is None:
            continue
        remedy = f"choose another --work-dir, or remove {stage.folder} to train this stage again"
        if len(checkpoints) < i:
            raise ValueError(
                f"{stage.folder} started from a stage that is no longer finished, or was replaced "
                f"({stages[i - 1].folder}); {remedy}"
            )
        now = settings_from(stage, checkpoints[-1] if checkpoints else None)
        changes = list(differences(record["settings"], now))
        raise_if_changed(changes, f"{stage.folder} was trained", remedy)
        if record["checkpoint"]:
            checkpoint = os.path.normpath(stage.folder / record["checkpoint"])
            if not Path(checkpoint).is_file():
                raise FileNotFoundError(f"{checkpoint} is missing; restore it, or {remedy}")
            checkpoints.append(existing_checkpoint(checkpoint))
    return checkpoints


def find_checkpoint(stage: Stage) -> str:
    """Return the checkpoint that a finished stage hands over.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: there are several best checkpoints, or it is damaged.
    """
    if stage.hand_over == "last":
        found = last_checkpoint(stage.folder)
        if found is None:
            raise FileNotFoundError(
                f"the training in {stage.folder} wrote no checkpoint to hand over; set "
                "default_hooks.checkpoint.save_last=True"
            )
        # mmengine writes the absolute path; the command line may name the folder by another.
        return os.path.normpath(stage.folder / os.path.relpath(found, stage.folder))
    best = sorted(map(str, stage.folder.glob("best_*.pth")))
    recorded = recorded_best(stage)
    if recorded in best:
        return existing_checkpoint(recorded)
    if not best:
        raise FileNotFoundError(
            f"there is no best_*.pth in {stage.folder} to hand over; validate during the training "
            "(train_cfg.val_interval), or set hand_over=last"
        )
    if len(best) > 1:
        raise ValueError(
            f"cannot tell which of {', '.join(best)} is the best checkpoint to hand over; remove "
            "the others"
        )
    return existing_checkpoint(best[0])


def recorded_best(stage: Stage) -> str | None:
    """Return the path in the stage's folder of the best checkpoint that the last one names.

    A folder that was moved during a training may also hold an earlier best checkpoint.
    """
    last = last_checkpoint(stage.folder)
    if last is None:
        return None
    saved = CheckpointLoader.load_checkpoint(last, map_location="cpu", logger=None)
    best = saved.get("message_hub", {}).get("runtime_info", {}).get("best_ckpt")
    return best and str(stage.folder / Path(best).name)
