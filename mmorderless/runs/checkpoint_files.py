"""Find, check and read checkpoint files; nothing in them is executed."""

import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from pickle import UnpicklingError
from threading import RLock
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmorderless.datasets.json_values import shown
from mmorderless.errors import error_line

OTHER_KEYS = ("model", "module", "model_state_dict", "model_ema", "state_dict_ema")
"""Keys under which other programs save weights, the first that holds some is read."""

WEIGHTS_ONLY, NOT_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""Environment variables that overrule torch.load's argument."""

_environment_lock = RLock()  # a scheme's reader may call the loader again


def protect_checkpoint_loader() -> None:
    """Make mmengine's CheckpointLoader, which reads all checkpoints, check them and execute none.

    The OneDL fork reads a file that `weights_only=True` rejects a second time without it; both
    families read downloads without it.
    """
    # The fork's log would announce the second attempt.
    if hasattr(mmengine_checkpoint, "_safe_torch_load"):
        mmengine_checkpoint._safe_torch_load = torch.load
    load = CheckpointLoader.load_checkpoint

    @wraps(load)
    def load_checkpoint(filename: str, *args: Any, **kwargs: Any) -> Any:
        existing_checkpoint(str(filename))
        try:
            with weights_only():
                checkpoint = load(filename, *args, **kwargs)
        except Exception as error:  # torch raises a dozen kinds for damaged files
            line = error_line(error)
            if isinstance(error, (OSError, ImportError, ValueError)) and str(filename) in line:
                raise
            if isinstance(error, (OSError, ImportError)):  # of a download or a storage
                raise OSError(
                    f"{filename} cannot be read ({line}); download it and give its path"
                ) from error
            if isinstance(error, UnpicklingError):
                reason = "holds more than weights, or is damaged (nothing in it was executed)"
            else:
                reason = f"is damaged ({line})"
            raise ValueError(
                f"{filename} {reason}, or mmengine did not write it; save its state_dict alone, or "
                "use another checkpoint"
            ) from error
        return without_code(with_state_dict(checkpoint, filename))

    CheckpointLoader.load_checkpoint = staticmethod(load_checkpoint)


@contextmanager
def weights_only() -> Iterator[None]:
    """Make torch.load refuse everything but weights, whatever its caller or the user has set."""
    with _environment_lock:  # another thread would restore the variables too early
        names = (WEIGHTS_ONLY, NOT_WEIGHTS_ONLY)
        before = {name: os.environ.pop(name) for name in names if name in os.environ}
        os.environ[WEIGHTS_ONLY] = "1"
        try:
            yield
        finally:
            del os.environ[WEIGHTS_ONLY]
            os.environ.update(before)


def with_state_dict(checkpoint: Any, filename: str) -> Mapping[str, Any]:
    """Return a checkpoint with its weights where mmengine looks for them.

    These are `state_dict` or, without it, the whole; other programs use other keys.

    Raises:
        ValueError: the checkpoint holds no weights by name.
    """
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        kind = type(checkpoint if state is None else state).__name__
        raise ValueError(
            f"{filename} holds a {kind} instead of weights by name; save a model's state_dict"
        )
    if state is not checkpoint or _has_weights(state):
        return checkpoint
    key = next((key for key in OTHER_KEYS if _has_weights(checkpoint.get(key))), None)
    if key is None:
        keys = ", ".join(map(str, list(checkpoint)[:5])) or "nothing"
        raise ValueError(f"{filename} holds no weights but {keys}; save a model's state_dict")
    print_log(f"reading the weights under {key!r} of {filename}", logger="current")
    return {**checkpoint, "state_dict": checkpoint[key]}


def without_code(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint without `meta.config`, text that `Runner.resume` executes as Python.

    mmcv wrote it. mmengine writes `meta.cfg`, which its `BaseInferencer` runs if it gets no config.
    """
    if "meta" not in checkpoint:
        return checkpoint
    # A NumPy record, which weights_only=True allows, can have a field of this name too.
    meta = dict(checkpoint["meta"]) if isinstance(checkpoint["meta"], Mapping) else {}
    meta.pop("config", None)
    return {**checkpoint, "meta": meta}


def _has_weights(state: Any) -> bool:
    return isinstance(state, Mapping) and any(isinstance(w, torch.Tensor) for w in state.values())


def existing_checkpoint(path: str) -> str:
    """Check that a local checkpoint file exists and is complete, and return its path or address.

    torch.save stores a checksum of every tensor, which torch.load does not compare.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or damaged, or is not a checkpoint.
    """
    if "://" in path:
        return path
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; give the path of a .pth file")
    with file.open("rb") as opened:
        start = opened.read(2)
    is_zip = start == b"PK"  # the format of torch.save since torch 1.6
    if not is_zip and start[:1] != b"\x80":  # a pickle, the format before
        raise ValueError(
            f"{path} ({file.stat().st_size} bytes) is not a checkpoint but perhaps a Git LFS "
            "pointer or a web page; download the file itself"
        )
    if is_zip and not is_whole(file):
        raise ValueError(
            f"the checkpoint {path} ({file.stat().st_size} bytes) is damaged: writing or copying "
            "it was interrupted, or bytes have changed; use another one"
        )
    return path


def is_whole(file: Path) -> bool:
    """Return whether there is a zip file that is complete and has the right checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # zipfile raises half a dozen kinds for damaged files
        return False


def last_checkpoint(work_dir: str | Path) -> str | None:
    """Return the path of a training's last whole checkpoint, None if there is none.

    This is the file that `last_checkpoint` names or, if the process was killed or the disk full
    while it or the name was written, the newest whole one.

    Args:
        work_dir: the training's folder. It may have been moved or copied: a checkpoint in it is
            preferred to the recorded path.
    """
    pointer = Path(work_dir, "last_checkpoint")
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text(errors="replace").strip() or "no file")
    others = _newest_first(pointer.parent)
    if named.parent != Path():  # CheckpointHook's out_dir
        others += _newest_first(named.parent)
    for path in (pointer.parent / named.name, named, *others):
        if is_whole(path):
            if path.name != named.name:
                name = shown(str(named))
                print(f"{pointer} names {name}, missing or damaged; using {path}", flush=True)
            return str(path)
    return None


def _newest_first(folder: Path) -> list[Path]:
    """List the checkpoints of epochs or iterations in a folder, the last written first."""
    saved = [path for path in folder.glob("*.pth") if re.fullmatch(r"(epoch|iter)_\d+", path.stem)]
    return sorted(saved, key=lambda path: path.stat().st_mtime_ns, reverse=True)
