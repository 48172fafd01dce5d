"""Write checkpoints so that a kill or a full disk always leaves a whole one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


class WholeFileBackend(LocalBackend):
    """mmengine's local backend, except that a file is replaced as a whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to `filepath`.partial and move that file."""
        unfinished = Path(f"{filepath}.partial")
        try:
            super().put(obj, unfinished)
            os.replace(unfinished, filepath)
        finally:
            unfinished.unlink(missing_ok=True)


register_backend("whole_files", WholeFileBackend, force=True)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """`CheckpointHook` that never leaves a run without a whole checkpoint.

    mmengine overwrites files in place, and removes an outdated checkpoint, or the best one so far,
    before the new one is written: with `max_keep_ckpts=1` a kill in between loses the run. A run
    resumed in a copied folder would remove the best checkpoint of the original. tools/train.py
    always uses this hook.
    """

    def __init__(self, *args: Any, backend_args: dict | None = None, **kwargs: Any) -> None:
        is_local = "://" not in str(kwargs.get("out_dir")) and not kwargs.get("file_client_args")
        if backend_args is None and is_local:
            backend_args = dict(backend="whole_files")
        super().__init__(*args, backend_args=backend_args, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Look for the best checkpoint of a resumed run in this run's folder, not a copy's."""
        super().before_train(runner)
        if getattr(self, "best_ckpt_path", None):
            self.best_ckpt_path = self._in_out_dir(self.best_ckpt_path)
        for name, path in getattr(self, "best_ckpt_path_dict", {}).items():
            self.best_ckpt_path_dict[name] = path and self._in_out_dir(path)

    def _in_out_dir(self, path: str) -> str:
        return self.file_backend.join_path(self.out_dir, os.path.basename(path))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save a checkpoint, then remove the outdated one."""
        with self._removal_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Save the best checkpoint and the last one, which names it, then remove the one before."""
        with self._removal_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removal_last(self) -> Iterator[None]:
        """Put off what mmengine removes within a block until everything is written."""
        backend, outdated = self.file_backend, []
        remove, backend.remove = backend.remove, outdated.append
        try:
            yield
        finally:
            backend.remove = remove
        best = getattr(self, "best_ckpt_path_dict", {}).values()
        written = {self.last_ckpt, getattr(self, "best_ckpt_path", None), *best}
        for path in outdated:
            if path not in written:  # a new file may have the same name
                backend.remove(path)
