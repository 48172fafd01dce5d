"""C-Tran: a Transformer over cells and classes that takes known labels as inputs.

Letters: B images, C classes, L cells of D channels, H size of a token.

    cells   = W F                                     (B, L, H), F itself if D = H
    classes = embedding(c) + embedding(state_c)       (B, C, H), unknown, negative or positive
    tokens  = Transformer(LayerNorm(cells, classes))  no positions
    z_c     = w_c · token_c + b_c                     each class has its own weights
"""

from typing import Any

import torch
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.heads.data_samples import multi_hot_labels
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.known_labels import mask_known_labels, read_known_labels
from mmorderless.models.heads.queries import GroupLinear, check_shared
from mmorderless.models.losses.sampling import RandomDraws

UNKNOWN, NEGATIVE, POSITIVE = range(3)
"""States of a class."""

MOST_KNOWN = 0.75
"""Share of the classes that are known in training at most."""


@MODELS.register_module()
class CTranHead(RandomDraws, MultiLabelClsHead):
    """Multi-label head that knows the state of some classes in training and, if told, afterwards.

    Jack Lanchantin, Tianlu Wang, Vicente Ordonez, Yanjun Qi: "General Multi-label Image
    Classification with Transformers", CVPR 2021. Label mask training: for every image the number of
    known classes is drawn uniformly from 0 … ⌊0.75 C⌋, then which ones they are, uniformly from all
    classes. Their true states are inputs, and the loss counts the other classes alone; it is the
    mean over these entries, where the authors sum over the classes. Predictions know the given and
    excluded labels of their data samples.

    Args:
        num_classes: C.
        in_channels: D.
        embed_size: H, also the size of the feed-forward nets; None for D, but at most 512. The
            authors have D = 2048.
        num_layers: layers of the Transformer, with the layer norm after each part.
        num_heads: attention heads.
        dropout: probability of dropping an entry in the Transformer.
        **kwargs: arguments of `MultiLabelClsHead`, of which `loss` is `MeanBCELoss` unless given;
            it takes every entry as an image with one class, so that it must not compare classes.

    Raises:
        ValueError: a size is not positive, or the heads do not share H evenly.
    """

    takes_known_labels = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        embed_size: int | None = None,
        num_layers: int = 3,
        num_heads: int = 4,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**dict(loss=dict(type="MeanBCELoss")) | kwargs)
        self.num_classes = num_classes
        self.in_channels = in_channels
        embed_size = min(in_channels, 512) if embed_size is None else embed_size
        check_sizes(embed_size=embed_size, num_heads=num_heads)
        check_shared("embed_size", embed_size, num_heads)
        projects = embed_size != in_channels
        self.project = nn.Linear(in_channels, embed_size) if projects else nn.Identity()
        self.class_embedding = nn.Parameter(torch.randn(num_classes, embed_size))
        self.state_embedding = nn.Embedding(3, embed_size, padding_idx=UNKNOWN)  # that row stays 0
        self.norm = nn.LayerNorm(embed_size)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    embed_size, num_heads, embed_size, dropout, batch_first=True
                )
                for _ in range(num_layers)
            )
        )
        self.classifier = GroupLinear(num_classes, embed_size, num_classes)

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the cells, shape (B, L, D)."""
        return as_grid(feats, self.in_channels)[0]

    def forward(self, feats: Features, state: Tensor | None = None) -> Tensor:
        """Return the logits of all classes, shape (B, C).

        Args:
            feats: a map or tokens.
            state: state of each class, shape (B, C), int64; None if all are unknown.
        """
        cells = self.project(self.pre_logits(feats))  # (B, L, H)
        classes = self.class_embedding.expand(cells.shape[0], -1, -1)  # (B, C, H)
        if state is not None:
            classes = classes + self.state_embedding(state)
        tokens = self.layers(self.norm(torch.cat([cells, classes], 1)))
        return self.classifier(tokens[:, -self.num_classes :])

    def loss(self, feats: Features, data_samples: list[DataSample], **kwargs) -> dict:
        """Return the loss of the classes that are not drawn as known."""
        labels = multi_hot_labels(data_samples, self.num_classes).to(self.class_embedding.device)
        known = self.draw_known(len(labels)).to(labels.device)
        state = torch.where(known, torch.where(labels > 0.5, POSITIVE, NEGATIVE), UNKNOWN)
        logits = self(feats, state)[~known][:, None]
        value = self.loss_module(logits, labels[~known][:, None], avg_factor=len(logits), **kwargs)
        return dict(loss=value)

    def predict(
        self, feats: Features, data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch, given the known labels of the data samples."""
        known = read_known_labels(data_samples, self.num_classes, self.class_embedding.device)
        state = None
        if known is not None:
            state = torch.where(known.excluded, NEGATIVE, UNKNOWN)
            state = torch.where(known.given, POSITIVE, state)
        return mask_known_labels(self._get_predictions(self(feats, state), data_samples))

    def draw_known(self, batch: int) -> Tensor:
        """Draw which classes of each image are known, shape (B, C), bool, on the CPU."""
        generator = self.generator_on(torch.device("cpu"))
        most = int(MOST_KNOWN * self.num_classes)
        number = torch.randint(most + 1, (batch, 1), generator=generator)
        rank = torch.rand(batch, self.num_classes, generator=generator).argsort(1).argsort(1)
        return rank < number
