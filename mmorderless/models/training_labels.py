"""Parts of a model that depend on the training set's labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mmorderless.labels.fixed_orders import count_labels
from mmorderless.labels.label_lists import Labels


class NeedsTrainingLabels(nn.Module):
    """Base of losses and heads that depend on the training set's labels, such as their counts.

    `TrainingContextHook` calls `set_label_sets` before training. A subclass implements it, or
    `set_training_labels` if it needs counts only, and keeps what it takes from the labels in
    buffers, so that a checkpoint is complete; before it knows them they are None and absent from
    its state, and loading a checkpoint gives them its values. Whole numbers are exact in every
    average over processes. Values that the config gives are not saved.

    Attributes:
        label_buffers: names of these buffers.
        arguments: the arguments that replace the training set, as errors name them.
        needs_training_labels: whether it depends on a training set, rather than on values of its
            config.
    """

    label_buffers: Sequence[str] = ()
    arguments: str
    needs_training_labels: bool

    @property
    def alternative(self) -> str:
        """How to do without the training set, as errors name it."""
        return f"give {type(self).__name__} its {self.arguments} in the config"

    def set_label_sets(self, classes: Sequence[str], label_sets: Sequence[Labels]) -> None:
        """Take what is needed from the labels of each image; by default from their counts.

        Args:
            classes: class names, C strings.
            label_sets: the distinct class indices of each image of the training set.
        """
        counts = count_labels(label_sets, len(classes))
        self.set_training_labels(classes, counts, len(label_sets))

    def set_training_labels(
        self, classes: Sequence[str], counts: np.ndarray, num_images: int
    ) -> None:
        """Take what is needed from the labels.

        Args:
            classes: class names, C strings.
            counts: images of the training set per class, shape (C,).
            num_images: number of images of the training set.
        """
        raise NotImplementedError

    def missing_labels(self, what: str) -> ValueError:
        """Return the error of a module that was never given the labels on which `what` depends."""
        return ValueError(
            f"{what} needs the training set: add custom_hooks=[dict(type='TrainingContextHook')] "
            f"to the config, or {self.alternative}"
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if self.needs_training_labels:
            for name in self.label_buffers:
                saved = state_dict.get(prefix + name)
                if saved is not None:
                    device = next(self.parameters(), saved).device
                    setattr(self, name, torch.empty_like(saved, device=device))
        super()._load_from_state_dict(state_dict, prefix, *args)
