"""Multi-label head on class queries, with an attention map for each class."""

from typing import Any

import torch
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.class_queries import ClassQueries
from mmorderless.models.decoding.options import check_known
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.known_labels import mask_known_labels


@MODELS.register_module()
class ClassQueryHead(MultiLabelClsHead):
    """Classify an image by `ClassQueries`.

    Predictions carry `pred_label`, the most probable first, and `pred_score`; with
    `return_attention`, which may be set at any time, also `attention` (n, h, w), where each of the
    n labels was seen, or (n, L) for tokens.

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map or tokens.
        queries: options of `ClassQueries`: `hidden_size`, `query_size`, `dropout`.
        drop_class_token: whether the first token of (B, L, D) features is a class token.
        return_attention: whether predictions carry the attention weights.
        **kwargs: arguments of `MultiLabelClsHead`, of which `loss` is `MeanBCELoss` unless given.

    Raises:
        ValueError: an option of the queries is unknown.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        queries: dict[str, Any] | None = None,
        drop_class_token: bool = False,
        return_attention: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**dict(loss=dict(type="MeanBCELoss")) | kwargs)
        self.in_channels = in_channels
        self.drop_class_token = drop_class_token
        self.return_attention = return_attention
        check_known("queries", queries or {}, ("hidden_size", "query_size", "dropout"))
        self.queries = ClassQueries(num_classes, in_channels, **(queries or {}))

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the cells that the queries attend to, shape (B, L, D)."""
        return as_grid(feats, self.in_channels, self.drop_class_token)[0]

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, shape (B, C)."""
        return self.queries(self.pre_logits(feats)).logits

    def predict(
        self, feats: Features, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch, written into the data samples that there are."""
        cells, layout = as_grid(feats, self.in_channels, self.drop_class_token)
        found = self.queries(cells)
        scores = found.logits.float().sigmoid()
        samples = [None] * len(scores) if data_samples is None else data_samples
        maps = found.attention.float().unflatten(2, layout)  # (B, C, h, w) or (B, C, L)
        written = []
        for sample, score, seen in zip(samples, scores, maps):
            sample = DataSample() if sample is None else sample
            order = score.argsort(descending=True, stable=True)
            labels = order[: self.topk] if self.thr is None else order[score[order] >= self.thr]
            mask_known_labels([sample.set_pred_score(score).set_pred_label(labels)])
            if self.return_attention:
                sample.set_field(seen[sample.pred_label], "attention", dtype=torch.Tensor)
            written.append(sample)
        return written
