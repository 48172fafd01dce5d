"""Load the trained model of a run."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmorderless.runs.checkpoint_files import last_checkpoint
from mmorderless.runs.config import read_config
from mmorderless.runs.files import replacing
from mmorderless.runs.trained_model import load_trained_model

CONFIG = "config.py"

TRAINING_STATE = ("optimizer", "param_schedulers", "swa")


class TrainedRun:
    """A run's config, its last checkpoint and its model in evaluation mode.

    Args:
        folder: the run's work dir.

    Raises:
        FileNotFoundError: the run has no config or no checkpoint.
        ValueError: the checkpoint is damaged, does not fit the config or is in another folder.
    """

    def __init__(self, folder: Path) -> None:
        self.config: Config = read_config(str(folder / CONFIG))
        found = last_checkpoint(folder)
        if found is None:
            raise FileNotFoundError(
                f"{folder} holds no checkpoint; remove this folder and run "
                "tools/compare.py again to train this run again"
            )
        if not Path(found).parent.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"the checkpoint {found} is outside {folder} and may be another run's; copy it "
                "into this folder"
            )
        self.file = Path(found)
        model, self.checkpoint = load_trained_model(self.config, self.file)
        self.model: Any = model
        self.head: Any = self.model.head

    def shrink(self) -> None:
        """Remove from the checkpoint the state that only resuming needs."""
        kept = {key: self.checkpoint[key] for key in self.checkpoint if key not in TRAINING_STATE}
        with replacing(self.file) as unfinished:
            torch.save(kept, unfinished)
