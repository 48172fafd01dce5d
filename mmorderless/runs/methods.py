"""Apply the `method` key of a config: merge a published system over the config's model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmorderless.runs.shipped import CONFIGS

FOLDER = Path("_base_", "methods")

SHIPPED = CONFIGS / FOLDER


def apply_method(cfg: Config) -> None:
    """Replace a config's model by that of its `method`, if it has one.

    `method = "ria"` takes the fragment `_base_/methods/ria.py` in the config's folder, else in the
    nearest folder above it, else in the shipped configs. A path that ends in .py is the fragment
    itself, relative to the config's folder or to the working directory.

    A fragment is a config with two keys:

    - `model` is merged over the config's model like a child config's (`_delete_=True` included), so
      its values take precedence; options of the head that are dicts (a loss, a decoder) replace the
      config's;
    - `keep` lists keys such as `head.num_classes` whose values in the config are kept, even when
      the fragment replaces the dict that they belong to.

    The key becomes None, so that a config that is saved afterwards is not changed again.

    Args:
        cfg: a config; changed in place.

    Raises:
        ValueError: there is no such method, the fragment has other keys or keeps an option of
            something that it removes, or the config has no model that it fits.
        FileNotFoundError: there is no fragment at the path.
    """
    method = cfg.get("method")
    if method is None:
        return
    file = find_method(method, cfg.filename)
    fragment = Config.fromfile(file)
    if "model" not in fragment or set(fragment.keys()) - {"model", "keep"}:
        raise ValueError(
            f"a method sets model, and optionally keep, but {file} sets "
            f"{', '.join(fragment.keys()) or 'nothing'}; move the rest into a config"
        )
    change = fragment.model.get("head") or {}
    _check_head(cfg, change, method)
    _check_teacher(cfg.model, fragment.model, method)
    kept = {}
    for key in fragment.get("keep", []):
        *parents, name = key.split(".")
        parent = _entry(cfg.model, parents)
        if parent is not None and name in parent:
            kept[key] = parent[name]
    for key, value in change.items():
        if isinstance(value, dict):  # another loss or decoder has other options
            cfg.model.head.pop(key, None)
    cfg.model.merge(fragment.model)
    for key, value in kept.items():
        *parents, name = key.split(".")
        parent = _entry(cfg.model, parents)
        if parent is None:
            raise ValueError(
                f"{file} keeps {key} and leaves no model.{'.'.join(parents)}; take it off keep"
            )
        parent[name] = value
    head = (cfg.model.get("head") or {}).get("type")
    if cfg.model.get("type") == "ConsistentClassifier" and head != "AttentionConsistencyHead":
        # ACfs made the config, and its type of model takes no other head.
        cfg.model.type = "LabelSetClassifier"
        cfg.model.pop("scale", None)
    cfg.method = None


def check_applied(cfg: Config) -> None:
    """Raise a ValueError if a config's `method` was not applied, which mmengine does not do."""
    if cfg.get("method") is not None:
        raise ValueError(
            f"the config's method={cfg.method!r} was not applied, so that its model is that of "
            "another method; use tools/train.py, or read the config with mmorderless.read_config"
        )


def find_method(method: Any, config: str | None) -> Path:
    """Return the fragment of a method.

    Raises:
        ValueError: there is no such method; the message lists the known ones.
        FileNotFoundError: there is no such file.
    """
    folder = Path(config or "config.py").absolute().parent
    if str(method).endswith(".py"):
        for file in (folder / method, Path(method)):
            if file.is_file():
                return file
        raise FileNotFoundError(
            f"there is no method {method}, neither from {folder} nor from {Path.cwd()}; give the "
            "path of a fragment, or the name of a method"
        )
    known: dict[str, Path] = {}
    above = [parent / FOLDER for parent in (folder, *folder.parents)]  # the nearest first
    for candidates in (*above, SHIPPED):
        known = {file.stem: file for file in sorted(candidates.glob("*.py"))} | known
    if not isinstance(method, str) or method not in known:
        raise ValueError(
            f"unknown method {method!r}; choose one of {', '.join(sorted(known)) or 'none'} "
            f"({FOLDER}/*.py in the config's folder, above it or shipped with mmorderless), or "
            "give the path of a .py file"
        )
    return known[method]


def _check_head(cfg: Config, change: ConfigDict, method: str) -> None:
    """Check that the config has the head whose options a fragment changes."""
    if not cfg.get("model"):
        raise ValueError(
            f"method={method} needs a config with a model, and {cfg.filename} has none"
        )
    head = cfg.model.get("head") or {}
    if change and not change.get("_delete_") and change.get("type") != head.get("type"):
        raise ValueError(
            f"method={method} sets options of a head of type {change.get('type')}, and that of "
            f"{cfg.filename} is {head.get('type')}; start from one of the pla_* configs"
        )


def _check_teacher(model: ConfigDict, change: ConfigDict, method: str) -> None:
    """Check that a fragment does not replace the type of a model that has a teacher."""
    if change.get("type", model.get("type")) != model.get("type") and "teacher" in model:
        raise ValueError(
            f"method={method} makes the model a {change.type}, and the config's {model.type} "
            "learns from a teacher; start from a config without a teacher"
        )


def _entry(model: ConfigDict, keys: Sequence[str]) -> ConfigDict | None:
    """Return the dict at nested keys of a model's config, None where there is none."""
    entry: Any = model
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry if isinstance(entry, dict) else None
