"""The records and checkpoints of training stages."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmorderless.runs.checkpoint_files import existing_checkpoint, last_checkpoint
from mmorderless.runs.records import differences

RECORD = "stage.json"
HAND_OVER = ("best", "last")


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
