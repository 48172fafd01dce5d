"""Recurrent attention that looks at a few places of the map, trained by reinforcement (RARL).

B images, C classes, D channels, K windows at a place, H hidden units, T places.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.heads.data_samples import multi_hot_labels
from mmorderless.models.heads.features import Features, as_map

SCALES, RATIOS = (1 / 4, 1 / 2, 3 / 4), (1 / 2, 1.0, 2.0)
"""Sides of the windows as shares of the image's, and their widths divided by their heights."""

BASELINE_MOMENTUM = 0.9


def share_of_labels_found(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of each image's n labels among its n best classes, 0 without labels.

    The rewards (B,), in [0, 1], are those of logits and of multi-hot labels, shape (B, C) each.
    """
    number = labels.sum(1)
    rank = logits.argsort(1, descending=True).argsort(1)
    found = (labels * (rank < number[:, None])).sum(1)
    return found / number.clamp(min=1)


def windows_around(places: Tensor, sizes: Tensor) -> Tensor:
    """Return windows around places, moved so that they lie inside the image.

    Args:
        places: centers (x, y) in shares of the image, shape (B, 2).
        sizes: width and height of each window, at most 1, shape (K, 2).

    Returns:
        Corners (x₁, y₁, x₂, y₂), shape (B, K, 4).
    """
    half = sizes / 2
    center = torch.maximum(torch.minimum(places[:, None], 1 - half), half)  # (B, K, 2)
    return torch.cat([center - half, center + half], 2)


def crop(maps: Tensor, windows: Tensor, size: int) -> Tensor:
    """Sample windows of maps bilinearly at the centers of size × size cells.

    Args:
        maps: shape (B, D, h, w).
        windows: corners in shares of the image, shape (B, K, 4).
        size: cells of a side.

    Returns:
        The windows, shape (B, K, D · size²).
    """
    steps = (torch.arange(size, device=maps.device) + 0.5) / size
    start, extent = windows[..., :2], windows[..., 2:] - windows[..., :2]
    x, y = (start[..., i, None] + extent[..., i, None] * steps for i in (0, 1))  # (B, K, size)
    points = torch.stack(torch.broadcast_tensors(x[:, :, None], y[..., None]), -1)
    grid = points.flatten(1, 2) * 2 - 1  # (B, K · size, size, 2)
    sampled = F.grid_sample(
        maps, grid.to(maps.dtype), padding_mode="border", align_corners=False
    )  # (B, D, K · size, size)
    return sampled.unflatten(2, (-1, size)).transpose(1, 2).flatten(2)


@MODELS.register_module()
class GlimpseHead(MultiLabelClsHead):
    """An LSTM that looks at windows around T places, and chooses each place from the one before.

    Tianshui Chen, Zhouxia Wang, Guanbin Li, Liang Lin: "Recurrent Attentional Reinforcement
    Learning for Multi-Label Image Recognition", AAAI 2018. No code of the authors was found.

    The first place is the whole image, which only chooses the next one. Every window at a place is
    read by the LSTM from the same state and gives scores; the mean of the states goes on, and gives
    the mean μ of the next place. In training the place is drawn from N(μ, σ²), in prediction it is
    μ. The logit of a class is its largest score over all windows of all places. Losses:

    - `loss`: the head's loss of the logits;
    - `loss_policy`: −weight · mean over images of (r − baseline) Σ_t log N(l_t | μ_t, σ²), where r
      is the share of the n labels among the n best classes, and the baseline its moving mean.

    From the abstract: places chosen one after the other by reinforcement. From others' notes:
    windows of several sizes and shapes, the maximum over all of them, the expected reward beside a
    classification loss. Not verified: everything else, namely
    three sizes by three shapes, five places, bilinear windows, the hidden layers, what the LSTM
    reads, the normal distribution, the reward, and the squared error as the classification loss.
    Chosen here: the sizes, σ, the baseline and its momentum, the weight, the mean of the states,
    and the threshold on a softmax over the classes.

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map.
        hidden_size: H of the two hidden layers and of the LSTM.
        pooled_size: cells of a side of a sampled window.
        num_places: T.
        deviation: σ of a place, as a share of the image's side.
        policy_weight: weight of `loss_policy`.
        dropout: probability of dropout after each hidden layer.
        **kwargs: arguments of mmpretrain's `MultiLabelClsHead`.

    Raises:
        ValueError: a size or σ is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 128,
        pooled_size: int = 2,
        num_places: int = 5,
        deviation: float = 0.15,
        policy_weight: float = 0.1,
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(hidden_size=hidden_size, pooled_size=pooled_size, num_places=num_places)
        if deviation <= 0:
            raise ValueError(f"deviation must be positive, got {deviation}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.pooled_size = pooled_size
        self.num_places = num_places
        self.deviation = deviation
        self.policy_weight = policy_weight
        sizes = [
            [min(1.0, scale * ratio**0.5), min(1.0, scale * ratio**-0.5)]
            for scale in SCALES
            for ratio in RATIOS
        ]
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        self.register_buffer("baseline", torch.zeros(()))
        self.hidden = nn.Sequential(
            nn.Linear(in_channels * pooled_size**2, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.lstm = nn.LSTMCell(hidden_size, hidden_size)
        self.fc = nn.Linear(hidden_size, num_classes)
        self.locate = nn.Linear(hidden_size, 2)

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the map, shape (B, D, h, w)."""
        return as_map(feats, self.in_channels)

    def rollout(self, feats: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Look at all places.

        Returns:
            Logits, shape (B, C); the log-density of each image's places, shape (B,), 0 in
            prediction; the places (x, y), shape (B, T, 2), without gradients.
        """
        maps = self.pre_logits(feats)
        windows = maps.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(maps.shape[0], 1, 4)
        state = maps.new_zeros(2, maps.shape[0], self.lstm.hidden_size)
        log_density = maps.new_zeros(maps.shape[0])
        scores, places = [], []
        for step in range(self.num_places + 1):
            read, state = self._read(maps, windows, state)
            if step > 0:
                scores.append(self.fc(read))  # (B, K, C)
            if step < self.num_places:
                mean = self.locate(state[0]).sigmoid()
                place = mean.detach()
                if self.training:
                    place = place + self.deviation * torch.randn_like(place)
                    distance = ((place - mean) / self.deviation).square().sum(1)
                    log_density = log_density - distance / 2  # up to a constant
                windows = windows_around(place, self.sizes)
                places.append(place)
        return torch.cat(scores, 1).amax(1), log_density, torch.stack(places, 1)

    def _read(self, maps: Tensor, windows: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the LSTM's output for each window, (B, K, H), and the mean state, (2, B, H)."""
        number = windows.shape[1]
        hidden = self.hidden(crop(maps, windows, self.pooled_size)).flatten(0, 1)
        before = state.repeat_interleave(number, 1)
        states = torch.stack(self.lstm(hidden, (before[0], before[1])))
        states = states.unflatten(1, (-1, number))  # (2, B, K, H)
        return states[0], states.mean(2)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, shape (B, C)."""
        return self.rollout(feats)[0]

    def loss(
        self, feats: Features, data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return `loss` and `loss_policy` of a batch of B samples with labels."""
        logits, log_density, _ = self.rollout(feats)
        losses = self._get_loss(logits, data_samples, **kwargs)
        labels = multi_hot_labels(data_samples, self.num_classes).to(logits.device)
        reward = share_of_labels_found(logits.detach(), labels)
        policy = -((reward - self.baseline) * log_density).mean()
        self.baseline.lerp_(reward.mean(), 1 - BASELINE_MOMENTUM)
        return {**losses, "loss_policy": self.policy_weight * policy}

    def predict(
        self, feats: Features, data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch; the scores are the softmax over the classes."""
        return self._get_predictions(self(feats).softmax(1).logit(), data_samples)
