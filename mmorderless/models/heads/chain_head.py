"""Classifier chains: each label is classified with the labels before it as inputs.

Letters: B images, C classes, D channels, E chains.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.labels.fixed_orders import class_ranks
from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.heads.data_samples import multi_hot_labels
from mmorderless.models.heads.known_labels import (
    KnownLabels,
    mask_known_labels,
    read_known_labels,
)
from mmorderless.models.training_labels import NeedsTrainingLabels


@MODELS.register_module()
class ChainHead(NeedsTrainingLabels, MultiLabelClsHead):
    """A chain of logistic regressions over the classes, or several chains.

    Jesse Read, Bernhard Pfahringer, Geoff Holmes, Eibe Frank: "Classifier chains for multi-label
    classification", Machine Learning 2011. The logit of a class is linear in the features and in
    the labels that come before it in the chain: z = W f + b + U y, where U is strictly lower
    triangular in the chain's order. In training y are the true labels; in prediction, class by
    class, whether the logits before were at least 0, or what the data sample says of a class: known
    labels inform the classes after them, not those before.

    A score is σ(z) of this greedy path, averaged over the chains. The order of a single chain is
    that of the config, or from the most to the least frequent class of the training set; several
    chains have random orders, the same ones in every run.

    Args:
        num_classes: C.
        in_channels: D.
        num_chains: E.
        order: all C class indices in the order of a single chain.
        **kwargs: arguments of `MultiLabelClsHead`, of which `loss` is `MeanBCELoss` unless given;
            the path does not depend on `thr`.

    Raises:
        ValueError: the order is not one of all classes, or is given for several chains, or there is
            no chain.
    """

    takes_known_labels = True
    label_buffers = ("orders",)
    arguments = "order"
    orders: Tensor | None

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_chains: int = 1,
        order: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        init_cfg = dict(type="Normal", layer="Linear", std=0.01)
        super().__init__(**dict(loss=dict(type="MeanBCELoss"), init_cfg=init_cfg) | kwargs)
        check_sizes(num_chains=num_chains)
        if order is not None and (num_chains > 1 or sorted(order) != list(range(num_classes))):
            raise ValueError(
                f"order={list(order)} is no order of a single chain over {num_classes} classes; "
                f"give each of 0 … {num_classes - 1} once, and num_chains=1"
            )
        self.num_classes = num_classes
        self.num_chains = num_chains
        self.needs_training_labels = num_chains == 1 and order is None
        orders = None if order is None else torch.tensor([order])
        if num_chains > 1:
            generator = torch.Generator().manual_seed(0)  # the same orders in every process
            orders = torch.stack(
                [torch.randperm(num_classes, generator=generator) for _ in range(num_chains)]
            )
        self.register_buffer("orders", orders, persistent=order is None)  # (E, C)
        self.fc = nn.Linear(in_channels, num_chains * num_classes)
        self.links = nn.Parameter(torch.zeros(num_chains, num_classes, num_classes))  # U

    def set_training_labels(
        self, classes: Sequence[str], counts: np.ndarray, num_images: int
    ) -> None:
        """Order the single chain from the most to the least frequent class."""
        ranks = class_ranks("frequent_first", classes, counts)
        self.orders = torch.from_numpy(np.argsort(ranks))[None]

    def known_orders(self) -> Tensor:
        """Return the classes of each chain in its order, shape (E, C)."""
        if self.orders is None:
            raise self.missing_labels("the order of a chain")
        return self.orders

    def label_weights(self) -> Tensor:
        """Return U, shape (E, C, C); entry [e, i, j] is 0 unless j precedes i in chain e."""
        rank = self.known_orders().argsort(1)  # (E, C)
        return self.links * (rank[:, None, :] < rank[:, :, None])

    def chain_logits(self, feats: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Return the logits of all chains given the labels.

        Args:
            feats: pooled features of the stages, of which the last (B, D) counts.
            labels: y, shape (B, E, C).

        Returns:
            Shape (B, E, C).
        """
        from_features = self.fc(self.pre_logits(feats)).unflatten(1, (self.num_chains, -1))
        return from_features + torch.einsum("bej,eij->bei", labels, self.label_weights())

    @torch.no_grad()
    def greedy_labels(self, feats: tuple[Tensor, ...], known: KnownLabels | None = None) -> Tensor:
        """Return the labels that the chains predict class by class or know, shape (B, E, C)."""
        batch = self.pre_logits(feats).shape[0]
        labels = self.links.new_zeros(batch, self.num_chains, self.num_classes)
        from_features = self.chain_logits(feats, labels)  # (B, E, C)
        weights = self.label_weights()
        chain = torch.arange(self.num_chains, device=labels.device)
        for classes in self.known_orders().T:  # (E,)
            from_labels = (labels * weights[chain, classes]).sum(2)  # (B, E)
            logits = from_features[:, chain, classes] + from_labels
            is_label = logits >= 0
            if known is not None:
                is_label = (is_label | known.given[:, classes]) & ~known.excluded[:, classes]
            labels[:, chain, classes] = is_label.to(labels.dtype)
        return labels

    def forward(self, feats: tuple[Tensor, ...], known: KnownLabels | None = None) -> Tensor:
        """Return the logits of the scores, shape (B, C)."""
        logits = self.chain_logits(feats, self.greedy_labels(feats, known))
        # The logit of the mean probability; that of one chain is its logit.
        return F.logsigmoid(logits).logsumexp(1) - F.logsigmoid(-logits).logsumexp(1)

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch, given the known labels of the data samples."""
        known = read_known_labels(data_samples, self.num_classes, self.links.device)
        return mask_known_labels(self._get_predictions(self(feats, known), data_samples))

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs) -> dict:
        """Return the loss given the true labels, averaged over the chains."""
        labels = multi_hot_labels(data_samples, self.num_classes).to(self.links.device)
        labels = labels[:, None].expand(-1, self.num_chains, -1)  # (B, E, C)
        logits = self.chain_logits(feats, labels).flatten(0, 1)
        value = self.loss_module(logits, labels.flatten(0, 1), avg_factor=len(logits), **kwargs)
        return dict(loss=value)
