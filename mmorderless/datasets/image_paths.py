"""Paths of images: joined with their folder, on this machine or in remote storage."""

import os
from collections.abc import Sequence
from typing import Any

import mmengine.fileio as fileio
from mmengine.logging import print_log

from mmorderless.datasets.text_files import READ_ERRORS


def join_path(folder: str, name: str) -> str:
    """Join a folder and a file name; an absolute path or a URL stays as it is."""
    return name if "://" in name else os.path.join(folder, name)


def join_paths(
    folder: str, names: Sequence[str], source: str, backend_args: dict | None = None
) -> list[str]:
    r"""Join the images' names with their folder.

    A name with `\` that does not exist as written is a Windows path if the name with `/` exists.

    Args:
        folder: folder of the images.
        names: paths relative to it, absolute paths or URLs.
        source: the annotation file, for the log.
        backend_args: storage backend of `mmengine.fileio`.
    """
    paths = [join_path(folder, name) for name in names]
    rows = [row for row, name in enumerate(names) if "\\" in name]
    slashed = {row: join_path(folder, names[row].replace("\\", "/")) for row in rows}
    written = are_files([paths[row] for row in rows], backend_args)
    exist = are_files(list(slashed.values()), backend_args)
    windows = [row for row, as_is, as_read in zip(rows, written, exist) if as_read and not as_is]
    for row in windows:
        paths[row] = slashed[row]
    if windows:
        print_log(
            f"{source}: read \\ as / in {len(windows)} image paths, such as {names[windows[0]]}",
            logger="current",
        )
    return paths


def image_backend(dataset: Any) -> dict | None:
    """Return the `backend_args` with which a dataset's pipeline loads its images."""
    while hasattr(dataset, "dataset") or hasattr(dataset, "datasets"):  # a part; a ConcatDataset
        dataset = dataset.dataset if hasattr(dataset, "dataset") else dataset.datasets[0]
    steps = getattr(getattr(dataset, "pipeline", None), "transforms", ())
    found = (getattr(step, "backend_args", None) for step in steps)
    return next((backend_args for backend_args in found if backend_args), None)


def is_local(path: str, backend_args: dict | None = None) -> bool:
    """Tell whether a path is on this machine and not a URL or in remote storage."""
    return "://" not in path and (backend_args or {}).get("backend", "local") == "local"


def are_files(paths: Sequence[str], backend_args: dict | None = None) -> list[bool]:
    """Tell which files exist; a folder or a link to nothing (of git-annex, say) is none.

    Local folders are listed once each; a look-up per file is slow over NFS.
    """
    names_in: dict[str, set[str]] = {}
    exist = []
    for path in paths:
        if not is_local(path, backend_args):
            exist.append(is_remote_file(path, backend_args))
            continue
        folder, name = os.path.split(path)
        if folder not in names_in:
            entries = os.scandir(folder or ".") if os.path.isdir(folder or ".") else ()
            names_in[folder] = {entry.name for entry in entries if entry.is_file()}
        exist.append(name in names_in[folder])
    return exist


def is_remote_file(path: str, backend_args: dict | None) -> bool:
    """Tell whether a file exists in remote storage."""
    try:
        backend = fileio.get_file_backend(path, backend_args=backend_args, enable_singleton=True)
        # A backend for HTTP has no `exists`.
        return backend.exists(path) if hasattr(backend, "exists") else bool(backend.get(path))
    except READ_ERRORS:
        return False
