"""A run's model as its training left it."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmorderless.runs.checkpoint_files import last_checkpoint
from mmorderless.runs.config import read_config
from mmorderless.runs.trained_model import load_trained_model

CONFIG = "config.py"

ONLY_FOR_TRAINING = ("optimizer", "param_schedulers", "swa")


class TrainedRun:
    """A run's config, its last checkpoint and the model of both, in evaluation mode.

    Args:
        folder: the run's work dir.

    Raises:
        FileNotFoundError: it has no config, or no checkpoint.
        ValueError: the checkpoint is damaged, does not fit the config, or lies in another folder.
    """

    def __init__(self, folder: Path) -> None:
        self.config: Config = read_config(str(folder / CONFIG))
        found = last_checkpoint(folder)
        if found is None:
            raise FileNotFoundError(f"{folder} holds no checkpoint; train the run to its end first")
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
        """Leave out of the checkpoint what only a training that goes on needs."""
        kept = {
            key: self.checkpoint[key] for key in self.checkpoint if key not in ONLY_FOR_TRAINING
        }
        unfinished = self.file.with_suffix(".partial")
        torch.save(kept, unfinished)
        unfinished.replace(self.file)
