"""The base class of losses over label sequences."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmorderless.labels.checks import LabelSets
from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy


class SequenceLoss(nn.Module):
    """Base class of losses over label sequences: align, then cross-entropy.

    A subclass implements `align`, or `forward_train` if it needs another training rollout, and is
    registered in mmpretrain's MODELS and imported in `__init__.py`; `MLALoss` is an example.

    Args:
        average: `local` or `world`, see `sequence_cross_entropy`.
        loss_weight: factor on the loss.

    Raises:
        ValueError: the average is unknown.
    """

    def __init__(self, average: str = "local", loss_weight: float = 1.0) -> None:
        super().__init__()
        if average not in ("local", "world"):
            raise ValueError(f"unknown average {average!r}; choose one of local, world")
        self.average = average
        self.loss_weight = loss_weight

    def align(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Return the target token of every step, shape (B, T)."""
        raise NotImplementedError

    def forward(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: shape (B, T, C + 1); only the first max n_i + 1 steps are read.
            label_sets: B one-dimensional tensors of class indices, or a multi-hot tensor (B, C).

        Returns:
            A scalar in nats per counted step.

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
        """Return the loss of a batch whose target tokens (B, T) are known."""
        return self.loss_weight * sequence_cross_entropy(logits, tokens, self.average)

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
