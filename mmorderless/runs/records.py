"""Record a run's settings as JSON, and compare them with those of an earlier run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmorderless.runs.files import write_text
from mmorderless.runs.launch import TrainingOptions

VERSION = 1
"""Version of the JSON files' layout."""

LOCATION_OPTIONS = {
    *("config", "cfg_options", "load_from", "work_dir", "resume"),
    *("launcher", "local_rank", "no_pin_memory", "print_config"),
}
SPEED_OPTIONS = {"num_workers", "persistent_workers", "no_persistent_workers", "pin_memory"}
"""With `LOCATION_OPTIONS`: options that may change on resuming, since no result depends on them."""


def training_settings(cfg: Config, options: TrainingOptions) -> dict[str, Any]:
    """Return the settings that a training's result depends on, in JSON types.

    Args:
        cfg: the config with `--cfg-options` merged in.
        options: options of tools/train.py.
    """
    settings = {k: value for k, value in cfg.to_dict().items() if k not in LOCATION_OPTIONS}
    for key, value in settings.items():
        if key.endswith("_dataloader") and value:
            settings[key] = {name: value[name] for name in value if name not in SPEED_OPTIONS}
    ignored = LOCATION_OPTIONS | SPEED_OPTIONS
    kept = {key: value for key, value in asdict(options).items() if key not in ignored}
    return json.loads(json.dumps(settings | {"options": kept}, default=repr))


def differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield the differences between two nested settings, each as `a.b: 1 → 2`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            inner = f"{key}.{name}" if key else name
            yield from differences(before.get(name), now.get(name), inner)
    elif before != now:
        shown = [
            value if len(value) <= 60 else f"{value[:57]}..." for value in map(str, (before, now))
        ]
        yield f"{key}: {' → '.join(shown)}"


def raise_if_changed(
    changes: Sequence[str], what: str, remedy: str = "choose another --work-dir"
) -> None:
    """Raise a ValueError when settings have changed.

    Args:
        changes: the differences.
        what: what was made with the earlier settings.
        remedy: what to do other than undoing the change.
    """
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise ValueError(
            f"{what} with other settings ({'; '.join(changes[:3])}{more}); "
            f"undo the change, or {remedy}"
        )


def read_json(file: Path) -> dict[str, Any] | None:
    """Read a JSON file of this version; None when it is missing, damaged or of another version."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("version") == VERSION else None


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file atomically, with the version added.

    Args:
        file: the file.
        value: JSON types.
    """
    write_text(file, json.dumps({"version": VERSION, **value}, indent=1, allow_nan=False) + "\n")
