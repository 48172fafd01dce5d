"""Write checkpoints so that a kill or a full disk always leaves a whole one."""

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
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

    mmengine overwrites files in place, and removes an outdated checkpoint before the new one is
    written: with `max_keep_ckpts=1` a kill in between loses the run. tools/train.py always uses it.
    """

    def __init__(self, *args: Any, backend_args: dict | None = None, **kwargs: Any) -> None:
        is_local = "://" not in str(kwargs.get("out_dir")) and not kwargs.get("file_client_args")
        if backend_args is None and is_local:
            backend_args = dict(backend="whole_files")
        super().__init__(*args, backend_args=backend_args, **kwargs)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save a checkpoint, then remove the outdated one."""
        outdated = None
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.keep_ckpt_ids.popleft()
            self.keep_ckpt_ids.append(step)  # mmengine then removes nothing
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        super()._save_checkpoint_with_step(runner, step, meta)
        if outdated is not None and is_main_process():
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
