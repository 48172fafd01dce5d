"""Find and check checkpoint files."""

import re
import zipfile
from pathlib import Path


def existing_checkpoint(path: str) -> str:
    """Return a checkpoint's path or address, having checked that a local file is there and whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file breaks off, or is no checkpoint.
    """
    if "://" in path:
        return path
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; give the path of a .pth file")
    with file.open("rb") as opened:
        start = opened.read(2)
    is_zip = start == b"PK"  # what torch.save writes since torch 1.6
    if not is_zip and start[:1] != b"\x80":  # a pickle, what it wrote before
        raise ValueError(
            f"{path} ({file.stat().st_size} bytes) is no checkpoint; it may be a Git LFS pointer "
            "or a web page in its place: get the file itself"
        )
    if is_zip and not zipfile.is_zipfile(file):
        raise ValueError(
            f"the checkpoint {path} ({file.stat().st_size} bytes) is damaged: writing or copying "
            "it broke off; use another one"
        )
    return path


def last_checkpoint(work_dir: str | Path) -> str | None:
    """Return the path of a training's last checkpoint, None before there is one.

    A process that is killed while it writes leaves a part of a file (mmengine writes the best
    epoch's checkpoint a second time); then it is the newest whole one.

    Args:
        work_dir: the training's folder, which may have been moved or copied since: a checkpoint
            within it comes before the one that was noted.

    Raises:
        FileNotFoundError: the checkpoint is gone.
    """
    pointer = Path(work_dir, "last_checkpoint")
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text().strip())
    within = Path(work_dir, named.name)
    last = within if within.is_file() else named
    if not last.is_file():
        raise FileNotFoundError(
            f"{pointer} names {named}, which is gone; name another with --resume CHECKPOINT"
        )
    if zipfile.is_zipfile(last):
        return str(last)
    saved = [path for path in last.parent.glob("*.pth") if re.fullmatch(r"\w+?_\d+", path.stem)]
    for path in sorted(saved, key=lambda path: int(path.stem.rpartition("_")[2]), reverse=True):
        if not path.stem.startswith("best_") and zipfile.is_zipfile(path):
            print(f"{last} is damaged: writing it broke off; taking {path} instead", flush=True)
            return str(path)
    return str(last)  # `existing_checkpoint` says what is wrong with it
