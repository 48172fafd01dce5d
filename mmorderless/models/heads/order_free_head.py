"""Order-free RNN: every step scores the labels that remain, and the surest candidate is emitted.

Chen, Chen, Yeh, Wang, "Order-Free RNN with Visual Attention for Multi-Label Classification", AAAI
2018. Letters: B images, R rows, C classes, T steps, L cells with D channels, n_i labels of image i.
"""

import math
from typing import Optional, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.alignment.targets import check_finite
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.emission import Emission
from mmorderless.models.heads.data_samples import training_labels, write_samples
from mmorderless.models.heads.features import as_grid
from mmorderless.models.heads.orderless_head import Features, build_decoder
from mmorderless.models.losses.remaining_labels import label_mask, remaining_labels


class CandidatePool:
    """The labels that an image has not emitted yet; `choose` of a rollout that never repeats one.

    The best candidate is emitted, or END when it is not good enough or there is none.

    Args:
        num_images: B.
        num_classes: C.
        device: where the rollout is.
        threshold: logit below which the best candidate ends the rollout.
    """

    def __init__(
        self,
        num_images: int,
        num_classes: int,
        device: torch.device,
        threshold: Union[float, Tensor] = -math.inf,
    ) -> None:
        self.num_classes = num_classes
        self.threshold = threshold
        self.taken = torch.zeros(num_images, num_classes + 1, dtype=torch.bool, device=device)

    def __call__(self, t: int, logits: Tensor, images: Tensor) -> Tensor:
        """Tokens to emit at step t, shape (R,).

        Args:
            t: the step's number.
            logits: shape (R, C + 1); END's is not used.
            images: whose rows these are, shape (R,).
        """
        end = self.num_classes
        taken = self.taken[images, :end]
        best, token = logits[:, :end].float().masked_fill(taken, -math.inf).max(1)
        token = torch.where((best < self.threshold) | taken.all(1), end, token)
        self.taken[images, token] = True
        return token


def remaining_bce(logits: Tensor, remaining: Tensor, num_labels: Tensor) -> Tensor:
    """Binary cross-entropy of every class against the labels that remain, at the steps t < n_i.

    An image without labels counts one step: it would teach nothing otherwise.

    Args:
        logits: of the classes, shape (B, T, C).
        remaining: labels that no step before emitted, shape (B, T, C), bool.
        num_labels: n_i, shape (B,).

    Returns:
        A scalar in nats, the mean over counted steps and classes.
    """
    step = torch.arange(logits.shape[1], device=logits.device)
    counted = step < num_labels.clamp(min=1)[:, None]  # (B, T)
    entries = F.binary_cross_entropy_with_logits(
        logits.float(), remaining.float(), reduction="none"
    )
    return (entries.mean(2) * counted).sum() / counted.sum()


def stop_bce(logits: Tensor, tokens: Tensor, remaining: Tensor, stop_logit: Tensor) -> Tensor:
    """Binary cross-entropy of "labels remain" as the best candidate tells, at the steps t ≤ n_i.

    Args:
        logits: shape (B, T, C + 1); they get no gradient.
        tokens: what each step emitted, END where no candidate was left, shape (B, T).
        remaining: labels that no step before emitted, shape (B, T, C), bool.
        stop_logit: θ, the logit at which labels remain with probability one half, a scalar.

    Returns:
        A scalar in nats, the mean over counted steps.
    """
    step = torch.arange(logits.shape[1], device=logits.device)
    num_labels = remaining[:, 0].sum(1, keepdim=True)  # before step 0 nothing was emitted
    counted = (step <= num_labels) & (tokens != remaining.shape[2])
    best = logits.detach().float().gather(2, tokens[:, :, None])[:, :, 0]  # (B, T)
    entries = F.binary_cross_entropy_with_logits(
        best - stop_logit, remaining.any(2).float(), reduction="none"
    )
    return (entries * counted).sum() / counted.sum()


def read_pool(logits: Tensor, tokens: Tensor) -> Emission:
    """Read label sets and scores off a rollout on a candidate pool.

    Args:
        logits: shape (B, T, C + 1).
        tokens: what each step emitted, shape (B, T); before END no label occurs twice.

    Returns:
        The emission; probabilities are sigmoids, and a class scores the largest one over the steps
        up to and including that at which the rollout stopped.
    """
    p = logits.float().sigmoid()
    is_end = (tokens == logits.shape[2] - 1).long()
    ends_seen = is_end.cumsum(1)
    before_end = ends_seen == 0
    counted = ends_seen <= is_end  # the step that stopped counts
    return Emission(
        tokens=tokens,
        probabilities=p.gather(2, tokens[:, :, None])[:, :, 0],
        length=before_end.sum(1),
        is_new=before_end,
        scores=torch.where(counted[:, :, None], p[:, :, :-1], 0).amax(1),
    )


@MODELS.register_module()
class OrderFreeRNNHead(BaseModule):
    """Emits labels from a pool of candidates until none is good enough; there is no END to learn.

    Each step's class logits go through a sigmoid, each class by itself. In training the target of
    a step t < n_i is the set of labels that remain, whichever comes first, so that no order is
    needed (an image without labels counts one step, which is not in the paper). The most probable
    candidate is emitted and leaves the pool, right or wrong, in training as in prediction: no label
    is ever repeated. The decoder's logit of END is not used.

    As in the paper an image-level linear layer on the mean of the cells predicts all classes, is
    trained by BCE itself (`loss_image`) and informs the decoder. Not as stated there: its
    probabilities are appended to every cell's channels, so that any decoder finds them in its
    initial state and its attention. The paper's beam search is left out; what exactly its learned
    threshold is trained on is not stated, see `stop`.

    Predictions carry the fields of `OrderlessRNNHead`, with sigmoids for probabilities; `sequence`
    and `pred_label` are the same. `stop_bias` is an attribute that may be set at any time: it is
    subtracted from the threshold's logit, so that above 0 more labels are emitted.

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map or tokens.
        max_steps: most steps of a rollout; the one at which it stops counts as one.
        stop: prediction stops when the best candidate's probability is below this; or `learned`,
            the sigmoid of a scalar θ such that sigmoid(best candidate's logit − θ) tells whether
            labels remain (`loss_stop`, BCE over the steps t ≤ n_i, which trains θ alone).
        hidden_size: LSTM size H.
        embed_size: size E of the label embeddings.
        attention_size: size A of the attention; None switches it off.
        dropout: probability of dropping an entry of the attended cells while training.
        decoder: config of another decoder than `AttentionLSTM`; it is built with the sizes above
            and its own options.
        drop_class_token: whether the first token of (B, L, D) features is a class token.
        return_attention: whether predictions carry the attention weights.
        init_cfg: initialisation, as everywhere in mmengine.

    Raises:
        ValueError: `stop` is neither a probability nor `learned`, or a size is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        max_steps: int,
        stop: Union[float, str] = 0.5,
        hidden_size: int = 512,
        embed_size: int = 256,
        attention_size: Optional[int] = 512,
        dropout: float = 0.5,
        decoder: Optional[dict] = None,
        drop_class_token: bool = False,
        return_attention: bool = False,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if max_steps < 2:
            raise ValueError(
                f"max_steps must be at least 2 (a label and the step that stops), got {max_steps}"
            )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.max_steps = max_steps
        self.drop_class_token = drop_class_token
        self.return_attention = return_attention
        self.decoder: LabelDecoder = build_decoder(
            decoder,
            num_classes,
            in_channels + num_classes,
            max_steps,
            hidden_size,
            embed_size,
            attention_size,
            dropout,
        )
        self.image_classifier = nn.Linear(in_channels, num_classes)
        self.stop_logit: Union[float, Tensor]  # θ
        if stop == "learned":
            self.stop_logit = nn.Parameter(torch.zeros(()))
        elif isinstance(stop, str) or not 0 <= stop <= 1:
            raise ValueError(f"stop must be a probability in 0 … 1 or 'learned', got {stop!r}")
        else:
            self.stop_logit = torch.tensor(float(stop)).logit().item()  # −∞ at 0, ∞ at 1
        self.stop_bias = 0.0

    def pre_logits(self, feats: Features) -> Tensor:
        """Cells that the decoder attends to, image-level probabilities included, (B, L, D + C)."""
        return self._look(feats)[0]

    def forward(self, feats: Features) -> Tensor:
        """Class logits (B, T, C) of a rollout that ends when every image has stopped."""
        grid = self.pre_logits(feats)
        rollout = self.decoder.rollout(grid, self.max_steps, True, choose=self._pool(grid))
        return rollout.logits[:, :, : self.num_classes]

    # torch.compile would trace this anew for every number of labels that an image can have.
    @torch.compiler.disable
    def loss(self, feats: Features, data_samples: list[DataSample]) -> dict:
        """Loss of a batch.

        Args:
            feats: the backbone's features.
            data_samples: B samples with `gt_label`; `gt_score`, where there is one, must be its
                multi-hot form.

        Returns:
            The losses by their names.

        Raises:
            ValueError: a sample has no `gt_label` or a soft one, or its labels do not fit.
        """
        labels, targets = training_labels(data_samples, self.max_steps)
        longest = max(len(label_set) for label_set in labels)
        grid, image_logits, _ = self._look(feats)
        mask = label_mask(targets, longest, self.num_classes, grid)  # (B, C)
        pool = CandidatePool(len(grid), self.num_classes, grid.device)  # training never stops early
        logits, tokens, _ = self.decoder.rollout(grid, longest + 1, choose=pool)
        check_finite(logits, longest)
        remaining = remaining_labels(tokens, mask)  # (B, T, C)
        losses = dict(
            loss=remaining_bce(logits[:, :, : self.num_classes], remaining, mask.sum(1)),
            loss_image=F.binary_cross_entropy_with_logits(image_logits.float(), mask.float()),
        )
        if isinstance(self.stop_logit, Tensor):
            losses["loss_stop"] = stop_bce(logits, tokens, remaining, self.stop_logit)
        return {**losses, **self.decoder.auxiliary_loss(grid, labels)}

    def predict(
        self, feats: Features, data_samples: Optional[list[Optional[DataSample]]] = None
    ) -> list[DataSample]:
        """Label sets of a batch.

        Args:
            feats: the backbone's features.
            data_samples: samples to write into; None, or None in places, makes new ones.
        """
        grid, _, layout = self._look(feats)
        rollout = self.decoder.rollout(
            grid, self.max_steps, True, self.return_attention, choose=self._pool(grid)
        )
        maps = None
        if rollout.attention is not None:
            maps = rollout.attention.float().unflatten(2, layout)  # (B, T, h, w) or (B, T, L)
        return write_samples(read_pool(rollout.logits, rollout.tokens), maps, data_samples)

    def _look(self, feats: Features) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """The decoder's cells (B, L, D + C), the image-level logits (B, C), the cells' layout."""
        cells, layout = as_grid(feats, self.in_channels, self.drop_class_token)
        image_logits = self.image_classifier(cells.mean(1))
        probabilities = image_logits.sigmoid()[:, None].expand(-1, cells.shape[1], -1)
        return torch.cat([cells, probabilities.to(cells.dtype)], 2), image_logits, layout

    def _pool(self, grid: Tensor) -> CandidatePool:
        """A full pool that stops at the threshold."""
        threshold = self.stop_logit - self.stop_bias
        if isinstance(threshold, Tensor):
            threshold = threshold.detach()
        return CandidatePool(len(grid), self.num_classes, grid.device, threshold)
