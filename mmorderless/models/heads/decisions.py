"""Learned rules that turn the logits of a multi-label head into label sets.

Letters: B images, D channels of the features, C classes, K the largest count.

A new rule: subclass `LabelDecision`, implement `forward` and, if it is trained, `auxiliary_loss`,
and register it in mmpretrain's MODELS; `DecidedHead(decision=dict(type=...))` uses it.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.sizes import size_list


def mlp(
    in_channels: int, widths: Sequence[int], out_channels: int, dropout: float = 0.0
) -> nn.Sequential:
    """Build linear layers with ReLU and dropout after each but the last."""
    layers: list[nn.Module] = []
    for width in size_list("widths", widths):
        layers += [nn.Linear(in_channels, width), nn.ReLU(), nn.Dropout(dropout)]
        in_channels = width
    return nn.Sequential(*layers, nn.Linear(in_channels, out_channels))


def choose_best(logits: Tensor, count: Tensor) -> Tensor:
    """Return which classes have the largest logits, (B, C) bool.

    Args:
        logits: shape (B, C); the first of equal ones is chosen first.
        count: number of classes to choose, shape (B,); all if there are not as many.
    """
    rank = logits.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return rank < count[:, None]


class LabelDecision(nn.Module):
    """Base class of rules that decide which classes are an image's labels."""

    threshold: float | None = None
    """The least score of a label; None for a rule that is no threshold on the scores."""

    def forward(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Decide on the labels of a batch.

        Args:
            features: shape (B, D).
            logits: shape (B, C).

        Returns:
            The scores of the classes in [0, 1], shape (B, C), and which are labels, (B, C) bool.
        """
        raise NotImplementedError

    def decide_merged(self, scores: Tensor, counts: Tensor) -> Tensor:
        """Decide from scores that are means over several views of an image, (C,) bool.

        As many of the best classes as the views have labels on average, rounded, one half up.

        Args:
            scores: shape (C,).
            counts: number of labels of each view's own set, shape (V,), floating point.
        """
        return choose_best(scores[None], (counts.mean() + 0.5).floor()[None].to(scores.device))[0]

    def auxiliary_loss(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the losses that train the decision, by name; `labels` are multi-hot (B, C)."""
        return {}


@MODELS.register_module()
class ThresholdDecision(LabelDecision):
    """A threshold θ_c per image and class, estimated from the features (Li et al., CVPR 2017).

    A class is a label if its logit is at least θ_c. Its score is σ(z_c − θ_c). The loss is the
    binary cross-entropy of z − θ, the mean over all B·C entries.

    Args:
        num_classes: C.
        in_channels: D.
        widths: sizes of the hidden layers.
    """

    threshold = 0.5

    def __init__(self, num_classes: int, in_channels: int, widths: Sequence[int] = ()) -> None:
        super().__init__()
        self.net = mlp(in_channels, widths, num_classes)

    def forward(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `LabelDecision.forward`."""
        scores = (logits.float() - self.net(features).float()).sigmoid()
        return scores, scores >= self.threshold

    def auxiliary_loss(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `LabelDecision.auxiliary_loss`."""
        margin = logits.float() - self.net(features).float()
        return dict(loss_decision=F.binary_cross_entropy_with_logits(margin, labels))


@MODELS.register_module()
class CountDecision(LabelDecision):
    """The number of labels as a class of its own, 0 … K; the best classes are the labels.

    The loss is the cross-entropy of the count, the mean over the images (Li et al., CVPR 2017;
    Pineda et al., arXiv 2019). Their counts start at 1 where no image is without a label.

    Args:
        num_classes: C.
        in_channels: D.
        widths: sizes of the hidden layers.
        max_count: K, at most C; more labels count as K. None for C.
        loss_weight: factor on the loss.

    Raises:
        ValueError: `max_count` is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int] = (),
        max_count: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.max_count = largest_count(max_count, num_classes)
        self.loss_weight = loss_weight
        self.net = mlp(in_channels, widths, self.max_count + 1)

    def forward(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `LabelDecision.forward`."""
        return logits.float().sigmoid(), choose_best(logits, self.net(features).argmax(1))

    def auxiliary_loss(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `LabelDecision.auxiliary_loss`."""
        count = labels.sum(1).round().long().clamp(max=self.max_count)
        cross_entropy = F.cross_entropy(self.net(features).float(), count)
        return dict(loss_decision=self.loss_weight * cross_entropy)


@MODELS.register_module()
class QuantityDecision(LabelDecision):
    """The number of labels by regression, K σ(·); the best classes are the labels.

    The number is rounded to decide. The loss is the squared error of the number, the mean over the
    images (Niu et al., TIP 2019, label quantity prediction).

    Args:
        num_classes: C.
        in_channels: D.
        widths: sizes of the hidden layers.
        max_count: K, at most C; None for C.
        dropout: of the hidden layers.

    Raises:
        ValueError: `max_count` is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int] = (),
        max_count: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.max_count = largest_count(max_count, num_classes)
        self.net = mlp(in_channels, widths, 1, dropout)

    def quantity(self, features: Tensor) -> Tensor:
        """Return the number of labels before rounding, shape (B,)."""
        return self.max_count * self.net(features).float().sigmoid()[:, 0]

    def forward(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `LabelDecision.forward`."""
        return logits.float().sigmoid(), choose_best(logits, self.quantity(features).round())

    def auxiliary_loss(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `LabelDecision.auxiliary_loss`."""
        return dict(loss_decision=F.mse_loss(self.quantity(features), labels.sum(1)))


@MODELS.register_module()
class MassDecision(LabelDecision):
    """The most probable classes of a softmax, until they hold a share of its mass.

    A class is a label while the classes before it hold less than the share, so that the first is
    always one (Pineda et al., arXiv 2019, for their target distribution). The score is the softmax.
    There is nothing to train.

    Args:
        num_classes: C.
        in_channels: D.
        mass: the share, above 0 and at most 1.

    Raises:
        ValueError: `mass` is out of its range.
    """

    def __init__(self, num_classes: int, in_channels: int, mass: float = 0.5) -> None:
        super().__init__()
        if not 0 < mass <= 1:
            raise ValueError(f"mass must be above 0 and at most 1, got {mass}")
        self.mass = mass

    def forward(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `LabelDecision.forward`."""
        scores = logits.float().softmax(1)
        return scores, self._most_probable(scores)

    def decide_merged(self, scores: Tensor, counts: Tensor) -> Tensor:
        """Decide by the same rule; see `LabelDecision.decide_merged`."""
        return self._most_probable(scores[None])[0]

    def _most_probable(self, scores: Tensor) -> Tensor:
        best, order = scores.sort(dim=1, descending=True, stable=True)
        before = best.cumsum(1) - best
        return (before < self.mass).gather(1, order.argsort(dim=1))


def largest_count(max_count: int | None, num_classes: int) -> int:
    """Return K: `max_count`, or C if it is None or larger; a ValueError if it is not positive."""
    if max_count is None:
        return num_classes
    check_sizes(max_count=max_count)
    return min(max_count, num_classes)
