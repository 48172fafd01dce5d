"""The base class of losses over label sequences."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mmorderless.labels.checks import LabelSets
from mmorderless.labels.vocabulary import IGNORE, MASKED
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy


class SequenceLoss(nn.Module):
    """Base class of losses over label sequences: align, then cross-entropy.

    A subclass implements `align`, or `forward_train` if it needs another training rollout, and is
    registered in mmpretrain's MODELS and imported in `__init__.py`; `MLALoss` is an example.

    Args:
        average: `local`, `world` or `image`, see `average_over_steps`.
        loss_weight: factor on the loss.
        class_weight: weight of each class in the cross-entropy, C numbers; a step whose target is
            END has weight 1. The loss is the weighted mean over the counted steps, so that weights
            of 1 change nothing, and weights far from 1 on average change the balance between
            labels and END. The alignment does not use them: which label belongs to which step
            follows from the model's probabilities alone.

    Raises:
        ValueError: the average is unknown, or a weight is negative or not finite.
    """

    masks_emitted = False
    """Whether the softmax of a step leaves out the labels that were emitted before."""

    learns_end = True
    """Whether END is trained; otherwise a threshold on the labels' sigmoids ends decoding."""

    token_weight: Tensor | None

    def __init__(
        self,
        average: str = "local",
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if average not in ("local", "world", "image"):
            raise ValueError(f"unknown average {average!r}; choose one of local, world, image")
        self.average = average
        self.loss_weight = loss_weight
        weight = None if class_weight is None else as_token_weight(class_weight)
        # Not in checkpoints: like loss_weight, it comes from the config.
        self.register_buffer("token_weight", weight, persistent=False)

    def check_class_weight(self, num_classes: int) -> None:
        """Raise a ValueError when the number of class weights is not C."""
        if self.token_weight is not None and len(self.token_weight) != num_classes + 1:
            raise ValueError(
                f"class_weight of {type(self).__name__} has {len(self.token_weight) - 1} numbers "
                f"for {num_classes} classes; give one for each class, in the order of the classes"
            )

    def align(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Return the target token of every step, shape (B, T)."""
        raise NotImplementedError

    def forward(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: shape (B, T, C + 1); only the first max n_i + 1 steps are read.
            label_sets: B one-dimensional tensors of class indices, or a multi-hot tensor (B, C).

        Returns:
            A scalar in nats per counted step, or per unit of weight with `class_weight`.

        Raises:
            ValueError: a label is out of range or given twice, the labels and END do not fit into
                T steps, or a logit is not finite.
        """
        tokens = self.align(logits, label_sets)
        # A non-finite logit at a step that no image counts would still make the gradient NaN: such
        # steps are cut, or masked where only the device knows their number.
        if isinstance(label_sets, Tensor):
            logits = logits.masked_fill((tokens == IGNORE)[:, :, None], 0)
        else:
            steps = max(len(labels) for labels in label_sets) + 1
            logits, tokens = logits[:, :steps], tokens[:, :steps]
        return self.loss_of_tokens(logits, tokens)

    def loss_of_tokens(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Return the loss of a batch whose target tokens (B, T) are known.

        Steps whose target the decoder has masked, since it was emitted before, do not count.
        """
        self.check_class_weight(logits.shape[2] - 1)
        target = logits.detach().gather(2, tokens.clamp(min=0)[:, :, None])[:, :, 0]
        tokens = tokens.masked_fill(target == MASKED, IGNORE)
        cross_entropy = sequence_cross_entropy(logits, tokens, self.average, self.token_weight)
        return self.loss_weight * cross_entropy

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """Run the training rollout that this objective requires and return its losses by name.

        Here the decoder is fed its own arg max.

        Args:
            decoder: any decoder.
            grid: cells, shape (B, L, D).
            labels: class indices of each image.
            max_steps: maximum number of steps, including END.

        Returns:
            Scalars; all are added up.
        """
        lengths = [len(label_set) + 1 for label_set in labels]  # END is a step
        return dict(loss=self(decoder.training_rollout(grid, lengths).logits, labels))


def as_token_weight(class_weight: Sequence[float]) -> Tensor:
    """Return the weights of the classes and of END, which has 1, shape (C + 1,).

    Raises:
        ValueError: not a list of numbers, or one of them is negative or not finite in float32.
    """
    array = np.asarray(class_weight)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"class_weight must be a list of numbers, got {class_weight!r}; give one for each class"
        )
    weight = torch.tensor([*array, 1], dtype=torch.float32)
    wrong = torch.nonzero(~(weight.isfinite() & (weight >= 0)))
    if len(wrong):
        raise ValueError(
            f"class_weight must be finite and not negative, got {array[wrong[0]].item()} for class "
            f"{wrong[0].item()}; use 1 for a class of normal weight"
        )
    return weight
