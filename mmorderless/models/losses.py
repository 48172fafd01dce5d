"""Sequence losses that put label sets in order: PLA, MLA and fixed orders.

They serve any module that has logits (B, T, C + 1), whichever decoder made them. Letters as in
`alignment`.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..alignment import (
    LabelSets,
    check_finite,
    min_loss_targets,
    ordered_targets,
    predicted_label_targets,
)
from ..ordering import check_order, class_ranks
from ..transfer import to_device
from ..vocabulary import IGNORE
from .label_decoder import LabelDecoder
from .random_draws import RandomDraws

AVERAGES = ("local", "world")
FEEDS = ("own", "target")


def sequence_cross_entropy(logits: Tensor, tokens: Tensor, average: str = "local") -> Tensor:
    """Cross-entropy in nats, averaged over the counted steps (Eq. 3, with its minus sign).

    Args:
        logits: shape (B, T, C + 1).
        tokens: target of each step, IGNORE where it does not count, shape (B, T).
        average: `local` divides by the counted steps of this batch, as mmpretrain's heads do;
            `world` by their mean over all processes, so that N processes equal one.

    Returns:
        A scalar, float32.
    """
    summed = F.cross_entropy(
        logits.flatten(0, 1).float(), tokens.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return summed / mean_count((tokens != IGNORE).sum().float(), average)


def mean_count(count: Tensor, average: str) -> Tensor:
    """What a sum over the counted steps is divided by, see `sequence_cross_entropy`.

    Args:
        count: steps that this process counts, a float scalar; may be changed.
        average: `local` or `world`.
    """
    if average == "world" and dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count


class SequenceLoss(nn.Module):
    """Align, then cross-entropy; the subclasses say how to align.

    Args:
        average: `local` or `world`, see `sequence_cross_entropy`.
        loss_weight: factor on the loss.

    Raises:
        ValueError: the average is unknown.
    """

    def __init__(self, average: str = "local", loss_weight: float = 1.0) -> None:
        super().__init__()
        if average not in AVERAGES:
            raise ValueError(f"unknown average {average!r}; choose one of {', '.join(AVERAGES)}")
        self.average = average
        self.loss_weight = loss_weight

    def align(self, logits: Tensor, targets: LabelSets) -> Tensor:
        """Target token of every step, shape (B, T)."""
        raise NotImplementedError

    # Not compiled: alignment works on the host, on tensors whose shapes differ in every batch.
    @torch.compiler.disable
    def forward(self, logits: Tensor, targets: LabelSets) -> Tensor:
        """Loss of a batch.

        Args:
            logits: shape (B, T, C + 1); steps after max n_i + 1 are ignored.
            targets: B one-dimensional tensors of class indices, or a multi-hot tensor (B, C).

        Returns:
            A scalar in nats per counted step.

        Raises:
            ValueError: a label is out of range or given twice, the labels and END do not fit into
                T steps, or a logit is not finite.
        """
        tokens = self.align(logits, targets)
        # A logit that is not finite, at a step that no image counts, would still turn the gradient
        # into NaN: such steps are cut, or blanked where their number is known to the device alone.
        if isinstance(targets, Tensor):
            logits = logits.masked_fill((tokens == IGNORE)[:, :, None], 0)
        else:
            steps = max(len(labels) for labels in targets) + 1
            logits, tokens = logits[:, :steps], tokens[:, :steps]
        return self.of_tokens(logits, tokens)

    @torch.compiler.disable
    def of_tokens(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Loss of a batch whose target tokens (B, T) are known."""
        return self.loss_weight * sequence_cross_entropy(logits, tokens, self.average)

    # Not traced: its steps differ in every batch. What it calls may be.
    @torch.compiler.disable(recursive=False)
    def learn(
        self,
        decoder: LabelDecoder,
        grid: Tensor,
        labels: Sequence[Tensor],
        targets: LabelSets,
        max_steps: int,
    ) -> dict[str, Tensor]:
        """Roll a decoder out as this loss needs it, here on its own arg max, and judge it.

        Args:
            decoder: any decoder; the loss never looks at which.
            grid: cells, shape (B, L, D).
            labels: class indices of each image.
            targets: the same, or their multi-hot form (B, C), which is checked to be no soft one.
            max_steps: most steps of a rollout; END counts as one.

        Returns:
            Scalars by name; all are summed up.
        """
        lengths = [len(label_set) + 1 for label_set in labels]  # END is a step
        return dict(loss=self(decoder.rollout_counted(grid, lengths).logits, targets))


@MODELS.register_module()
class MLALoss(SequenceLoss):
    """Minimal loss alignment: the order of least loss (Yazici et al. 2020, Eq. 4).

    Example::

        >>> logits = torch.randn(2, 4, 11, requires_grad=True)  # 10 classes and END
        >>> MLALoss()(logits, [torch.tensor([3, 7]), torch.tensor([0])]).backward()
    """

    def align(self, logits: Tensor, targets: LabelSets) -> Tensor:
        """Target tokens of least summed loss, shape (B, T)."""
        return min_loss_targets(logits, targets)


@MODELS.register_module()
class PLALoss(SequenceLoss):
    """Predicted label alignment: correct predictions keep their step, the rest is assigned at
    least loss (Yazici et al. 2020, Eq. 5).

    Example::

        >>> logits = torch.randn(2, 4, 11, requires_grad=True)  # 10 classes and END
        >>> PLALoss()(logits, [torch.tensor([3, 7]), torch.tensor([0])]).backward()
    """

    def align(self, logits: Tensor, targets: LabelSets) -> Tensor:
        """Target tokens around the correct predictions, shape (B, T)."""
        return predicted_label_targets(logits, targets)


@MODELS.register_module()
class FixedOrderLoss(RandomDraws, SequenceLoss):
    """Labels in an order that does not depend on the prediction.

    Frequent-first (Wang et al. 2016), rare-first and dictionary (Jin & Nakayama 2016), or random,
    drawn anew each time an image is seen. The training set's class names and image counts come
    from `LabelOrderHook`, or from the arguments where there is no runner.

    Args:
        order: `frequent_first`, `rare_first`, `dictionary` or `random`.
        classes: class names, C strings.
        counts: images of the training set per class, C numbers.
        average: see `SequenceLoss`.
        loss_weight: factor on the loss.
        feed: what training feeds back: `own`, the model's arg max, as the paper does for every
            strategy; or `target`, the true label of the step before (teacher forcing).

    Raises:
        ValueError: the order or the feed is unknown, or counts and names do not match.
    """

    def __init__(
        self,
        order: str,
        classes: Optional[Sequence[str]] = None,
        counts: Optional[Sequence[int]] = None,
        average: str = "local",
        loss_weight: float = 1.0,
        feed: str = "own",
    ) -> None:
        super().__init__(average, loss_weight)
        check_order(order)
        if feed not in FEEDS:
            raise ValueError(f"unknown feed {feed!r}; choose one of {', '.join(FEEDS)}")
        self.order = order
        self.feed = feed
        self.register_buffer("ranks", None, persistent=False)  # shape (C,)
        if classes is not None:
            self.set_training_labels(classes, counts)

    @property
    def needs_training_labels(self) -> bool:
        """Whether the order depends on a training set that it has not been given."""
        return self.order != "random" and self.ranks is None

    def set_training_labels(
        self, classes: Sequence[str], counts: Optional[Sequence[int]] = None
    ) -> None:
        """Fix the order from the training set.

        Args:
            classes: class names, C strings.
            counts: images per class, C numbers; not needed for `dictionary` and `random`.
        """
        if self.order != "random":
            array = None if counts is None else np.asarray(counts)
            self.ranks = torch.from_numpy(class_ranks(self.order, classes, array))

    @torch.compiler.disable
    def align(self, logits: Tensor, targets: LabelSets) -> Tensor:
        """Target tokens in the fixed order, shape (B, T)."""
        if self.order == "random":
            return ordered_targets(logits, targets, self._random_ranks(logits))
        if self.needs_training_labels:
            raise ValueError(
                f"the order {self.order!r} needs the training set: add "
                "custom_hooks=[dict(type='LabelOrderHook')] to the config, or give FixedOrderLoss "
                "its classes and counts"
            )
        if self.ranks.device != logits.device:  # once: they stay there
            self.ranks = to_device(self.ranks, logits.device)
        return ordered_targets(logits, targets, self.ranks)

    @torch.compiler.disable(recursive=False)
    def learn(
        self,
        decoder: LabelDecoder,
        grid: Tensor,
        labels: Sequence[Tensor],
        targets: LabelSets,
        max_steps: int,
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.learn`; with feed `target` the true labels are fed back."""
        if self.feed == "own":
            return super().learn(decoder, grid, labels, targets, max_steps)
        longest = max(len(label_set) for label_set in labels)
        # The order is known before anything is predicted; it is drawn once, if it is random.
        num_outputs = decoder.vocabulary.num_outputs
        tokens = self.align(grid.new_zeros(len(grid), longest + 1, num_outputs), targets)
        lengths = [len(label_set) + 1 for label_set in labels]
        logits = decoder.rollout_counted(grid, lengths, feed=tokens).logits
        check_finite(logits, longest)  # which aligning to the prediction does by the way
        return dict(loss=self.of_tokens(logits, tokens))

    def _random_ranks(self, logits: Tensor) -> Tensor:
        """Independent ranks for every image, shape (B, C), drawn on the device of the logits."""
        shape = (logits.shape[0], logits.shape[2] - 1)
        return torch.rand(shape, generator=self.generator_on(logits.device), device=logits.device)


STRATEGIES = {
    "pla": dict(type="PLALoss"),
    "mla": dict(type="MLALoss"),
    "frequent_first": dict(type="FixedOrderLoss", order="frequent_first"),
    "rare_first": dict(type="FixedOrderLoss", order="rare_first"),
    "dictionary": dict(type="FixedOrderLoss", order="dictionary"),
    "random": dict(type="FixedOrderLoss", order="random"),
}
"""The paper's ordering strategies by the name that configs use."""


def loss_of(strategy: str) -> dict:
    """Config of a strategy's loss.

    Raises:
        ValueError: the strategy is unknown; the message lists the known ones.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    return dict(STRATEGIES[strategy])
