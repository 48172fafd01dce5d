"""Find, check and read checkpoint files; nothing in them is executed."""

import os
import re
import zipfile
from functools import wraps
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner import CheckpointLoader, checkpoint

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def protect_checkpoint_loader() -> None:
    """Make mmengine's CheckpointLoader, which reads all checkpoints, check them and execute none.

    The OneDL fork reads a file that `weights_only=True` rejects a second time without it; both
    families read downloads without it. torch's environment variable overrules both.
    """
    if hasattr(checkpoint, "_safe_torch_load"):  # its log would announce the second attempt
        checkpoint._safe_torch_load = torch.load
    load = CheckpointLoader.load_checkpoint

    @wraps(load)
    def load_checkpoint(filename: str, *args: Any, **kwargs: Any) -> Any:
        existing_checkpoint(str(filename))
        before = os.environ.get(FORCE, "0")
        os.environ[FORCE] = "1"
        try:
            return load(filename, *args, **kwargs)
        except UnpicklingError as error:
            raise ValueError(
                f"{filename} holds more than weights, or is damaged (nothing in it was executed): "
                "mmengine did not write it; save its state_dict alone, or use another checkpoint"
            ) from error
        finally:
            os.environ[FORCE] = before

    CheckpointLoader.load_checkpoint = staticmethod(load_checkpoint)


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
    """Return whether a zip file is complete and its checksums are right."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
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
    named = Path(pointer.read_text(errors="replace").replace("\0", "").strip() or "no file")
    others = _newest_first(pointer.parent)
    if named.parent != Path():  # CheckpointHook's out_dir
        others += _newest_first(named.parent)
    for path in (pointer.parent / named.name, named, *others):
        if path.is_file() and is_whole(path):
            if path.name != named.name:
                print(f"{pointer} names {named}, missing or damaged; using {path}", flush=True)
            return str(path)
    return None


def _newest_first(folder: Path) -> list[Path]:
    """List the checkpoints of epochs or iterations in a folder."""
    saved = [path for path in folder.glob("*.pth") if re.fullmatch(r"(epoch|iter)_\d+", path.stem)]
    return sorted(saved, key=lambda path: int(path.stem.rpartition("_")[2]), reverse=True)
