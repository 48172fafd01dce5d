"""Binary cross-entropy weighted by the classes' frequencies in the training set (DeepMAR)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss
from mmorderless.models.training_labels import NeedsTrainingLabels


@MODELS.register_module()
class PriorWeightedBCELoss(NeedsTrainingLabels, MeanLoss):
    """Binary cross-entropy in which the rarer value of a label weighs more.

    With r_c the share of training images that have class c, a positive entry has the weight
    exp(1 − r_c) and a negative one exp(r_c): Dangwei Li, Xiaotang Chen, Kaiqi Huang:
    "Multi-attribute Learning for Pedestrian Attribute Recognition in Surveillance Scenarios", ACPR
    2015, in the form of its first author's later code (σ = 1). That code sums over the classes;
    this is the mean over all B·C entries. All weights are above 1: the loss is 1.6 to 2.7 times
    `MeanBCELoss`. Labels that are not judged count as negative, in r_c too.

    Args:
        positive_share: r_c of each class; None for the training set's, from `TrainingContextHook`.
        loss_weight: factor on the loss.

    Raises:
        ValueError: a share is not in [0, 1].
    """

    label_buffers = ("label_counts", "num_images")
    arguments = "positive_share"
    label_counts: Tensor | None
    num_images: Tensor | None

    def __init__(
        self, positive_share: Sequence[float] | None = None, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        share = None if positive_share is None else torch.tensor(positive_share)
        if share is not None and not ((share >= 0) & (share <= 1)).all():
            raise ValueError(
                f"positive_share must be in [0, 1], got {positive_share}; give the share of the "
                "training images that have each class"
            )
        self.needs_training_labels = share is None
        self.register_buffer("configured_share", share, persistent=False)
        self.register_buffer("label_counts", None)  # (C,)
        self.register_buffer("num_images", None)  # ()

    def set_training_labels(
        self, classes: Sequence[str], counts: np.ndarray, num_images: int
    ) -> None:
        """Take the number of images with each class, and of all images."""
        self.label_counts = torch.tensor(counts)
        self.num_images = torch.tensor(num_images)

    def positive_share(self) -> Tensor:
        """Return r_c, the share of training images that have each class, shape (C,)."""
        if self.configured_share is not None:
            return self.configured_share
        if self.label_counts is None or self.num_images is None:
            raise self.missing_labels("the weight of a class")
        return self.label_counts / self.num_images

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted cross-entropy of each entry, shape (B, C).

        Raises:
            ValueError: the shares are not known, or not of as many classes.
        """
        share = self.positive_share()
        if len(share) != logits.shape[1]:
            raise ValueError(
                f"the loss has the shares of {len(share)} classes and the head "
                f"{logits.shape[1]} classes; give positive_share one number per class, or set the "
                "head's num_classes"
            )
        positive = target * torch.exp(1 - share) * F.logsigmoid(logits)
        negative = (1 - target) * torch.exp(share) * F.logsigmoid(-logits)
        return -(positive + negative)
