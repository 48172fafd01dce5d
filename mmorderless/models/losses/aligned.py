"""Sequence losses that put label sets in order: PLA, MLA and fixed orders.

They serve any module that has logits (B, T, C + 1), whichever decoder made them. Letters as in
`alignment`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.alignment.targets import (
    check_finite,
    min_loss_targets,
    ordered_targets,
    predicted_label_targets,
)
from mmorderless.labels.checks import CheckedLabels, LabelSets, check_labels
from mmorderless.labels.fixed_orders import check_order, class_ranks
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.prompted import PromptedLoss
from mmorderless.models.training_labels import NeedsTrainingLabels


@MODELS.register_module()
class MLALoss(PromptedLoss):
    """Minimal loss alignment: the order of least loss (Yazici et al. 2020, Eq. 4).

    >>> logits = torch.randn(2, 4, 11, requires_grad=True)  # 10 classes and END
    >>> MLALoss()(logits, [torch.tensor([3, 7]), torch.tensor([0])]).backward()
    """

    def align(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Target tokens of least summed loss, shape (B, T)."""
        return min_loss_targets(logits, label_sets)


@MODELS.register_module()
class PLALoss(PromptedLoss):
    """Predicted label alignment: correct predictions keep their step, the rest is assigned at
    least loss (Yazici et al. 2020, Eq. 5).

    The released code looks for correct predictions at all 20 steps, not at the first n_i of Eq. 5:
    on random images its targets differ in 29 to 40 % of them, and their summed loss is 0.5 to 0.9
    nats higher.

    >>> logits = torch.randn(2, 4, 11, requires_grad=True)  # 10 classes and END
    >>> PLALoss()(logits, [torch.tensor([3, 7]), torch.tensor([0])]).backward()
    """

    def align(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Target tokens around the correct predictions, shape (B, T)."""
        return predicted_label_targets(logits, label_sets)


@MODELS.register_module()
class FixedOrderLoss(NeedsTrainingLabels, PromptedLoss):
    """Labels in an order that does not depend on the prediction.

    Frequent-first (Wang et al. 2016), rare-first and dictionary (Jin & Nakayama 2016), or random,
    drawn each time an image is seen. The training set's class names and image counts come
    from `TrainingContextHook`, or from the arguments where there is no runner.

    Args:
        order: `frequent_first`, `rare_first`, `dictionary` or `random`.
        classes: class names, C strings.
        counts: images of the training set per class, C numbers.
        average: see `SequenceLoss`.
        loss_weight: factor on the loss.
        teacher_forcing: in training, feed back the true previous label. The paper never does: it
            feeds back the model's arg max for every strategy.
        class_weight: see `SequenceLoss`.
        prompt: see `PromptedLoss`; the labels that remain are in the order.

    Raises:
        ValueError: the order is unknown, counts and names do not match, or `prompt` is not a share
            or comes with teacher forcing.
    """

    label_buffers = ("ranks",)
    arguments = "classes and counts"
    ranks: Tensor | None

    def __init__(
        self,
        order: str,
        classes: Sequence[str] | None = None,
        counts: Sequence[int] | None = None,
        average: str = "local",
        loss_weight: float = 1.0,
        teacher_forcing: bool = False,
        class_weight: Sequence[float] | None = None,
        prompt: float = 0.0,
    ) -> None:
        super().__init__(average, loss_weight, class_weight, prompt)
        check_order(order)
        if prompt and teacher_forcing:
            raise ValueError(
                f"prompt={prompt} feeds back the model's own predictions after some true labels, "
                "teacher_forcing=True none of them; leave one of the two out"
            )
        self.order = order
        self.teacher_forcing = teacher_forcing
        self.from_config = classes is not None
        # Shape (C,): the label of rank 0 is emitted first.
        self.register_buffer("ranks", None, persistent=not self.from_config)
        if classes is not None:
            self.set_training_labels(classes, counts)

    @property
    def needs_training_labels(self) -> bool:
        """Whether the order depends on a training set, rather than on names of the config."""
        return self.order != "random" and not self.from_config

    def set_training_labels(
        self,
        classes: Sequence[str],
        counts: Sequence[int] | np.ndarray | None = None,
        num_images: int | None = None,
    ) -> None:
        """Fix the order from the training set.

        Args:
            classes: class names, C strings.
            counts: images per class, C numbers; not needed for `dictionary` and `random`.
            num_images: not needed.
        """
        if self.order != "random":
            array = None if counts is None else np.asarray(counts)
            self.ranks = torch.from_numpy(class_ranks(self.order, classes, array))

    def align(self, logits: Tensor, label_sets: LabelSets) -> Tensor:
        """Target tokens in the fixed order, shape (B, T)."""
        labels = check_labels(label_sets, logits.shape[2] - 1)
        check_finite(logits, labels.labels.shape[1])
        return self.tokens_in_order(labels, logits.shape[1]).to(logits.device)

    def tokens_in_order(self, labels: CheckedLabels, num_steps: int) -> Tensor:
        """Target tokens in the fixed order, shape (B, num_steps), on the CPU."""
        if self.order == "random":
            generator = self.generator_on(torch.device("cpu"))
            shape = (len(labels.labels), labels.num_classes)
            ranks = torch.rand(shape, generator=generator).numpy()
            return ordered_targets(labels, ranks, num_steps)
        if self.ranks is None:
            raise self.missing_labels(f"the order {self.order!r}")
        return ordered_targets(labels, self.ranks.cpu().numpy(), num_steps)

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; with teacher forcing the true labels are fed back."""
        if not self.teacher_forcing:
            return super().forward_train(decoder, grid, labels, max_steps)
        longest = max(len(label_set) for label_set in labels)
        # The order is known before anything is predicted; it is drawn once, if it is random.
        checked = check_labels(labels, decoder.vocabulary.num_classes)
        tokens = self.tokens_in_order(checked, longest + 1).to(grid.device)
        lengths = [len(label_set) + 1 for label_set in labels]
        logits = decoder.training_rollout(grid, lengths, feed=tokens).logits
        check_finite(logits, longest)  # aligning to a prediction checks this as well
        return dict(loss=self.loss_of_tokens(logits, tokens))


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
