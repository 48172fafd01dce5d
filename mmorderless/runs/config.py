"""Read a config file with its method, options and validation split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmorderless.datasets.partition import apply_val_split, check_indices
from mmorderless.errors import error_line
from mmorderless.runs.methods import apply_method
from mmorderless.runs.shipped import config_file


def read_config(path: str | Path, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file, apply its `method`, merge `--cfg-options` and apply its `val_split`.

    Options take precedence over the method, which may itself be an option.

    Args:
        path: a text or Python config of mmengine; `mmorderless::NAME` is a shipped one.
        cfg_options: values by dotted key.

    Raises:
        FileNotFoundError: the file of the config or of the method is missing.
        ValueError: a key of `cfg_options` leads into a value that is not a dict or list; or see
            `apply_method` and `apply_val_split`.
    """
    path = config_file(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no config {path}; give the path of a config file")
    cfg = Config.fromfile(path)
    options = dict(cfg_options or {})
    if "method" in options:
        cfg.method = options.pop("method")
    apply_method(cfg)
    if options:
        try:
            cfg.merge_from_dict(options)
        except (KeyError, TypeError, IndexError, AssertionError) as error:
            raise ValueError(
                f"cannot merge --cfg-options {options}: {error_line(error)}"
            ) from error
    apply_val_split(cfg)
    check_indices(cfg)
    return cfg
