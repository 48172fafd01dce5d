"""Settings of a run as JSON files, and the differences between them."""

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

PER_STAGE = {"work_dir", "resume", "launcher", "local_rank"}
"""Options of tools/train.py that every stage gets from here."""

PLACES = PER_STAGE | {"config", "load_from", "cfg_options", "no_pin_memory"}
SPEED = {"num_workers", "persistent_workers", "no_persistent_workers", "pin_memory"}
"""With `PLACES`: what may change between two calls, since it does not change the result."""


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


VERSION = 1


def read_json(file: Path) -> dict[str, Any] | None:
    """Return what a file of this version of the layout holds; None without a whole one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("version") == VERSION else None


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a file at once, so that an interruption leaves the one before or the new one.

    Args:
        file: the file.
        value: what JSON can hold; the version of the layout is added.
    """
    write_text(file, json.dumps({"version": VERSION, **value}, indent=1, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text file at once; see `write_json`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)


def refuse(changes: Sequence[str], what: str) -> None:
    """Raise a ValueError when settings have changed.

    Args:
        changes: the differences.
        what: what there is with the settings of before.
    """
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise ValueError(
            f"{what} with other settings ({'; '.join(changes[:3])}{more}); "
            "undo the change or choose another --work-dir"
        )
