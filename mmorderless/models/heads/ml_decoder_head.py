"""ML-Decoder's head: fixed queries, each for a group of classes, attend to the cells of a map.

Letters: B images, L cells of D channels, C classes, K queries, H hidden size.

    m      = ReLU(W cell + b)                           the memory                  (B, L, H)
    q      = LayerNorm(q + dropout(q))                  what is left of self-attention
    q      = LayerNorm(q + dropout(attention(q, m, m)))                             (B, K, H)
    q      = LayerNorm(q + dropout(W_2 dropout(ReLU(W_1 q))))
    logits = group-wise linear readout of q                                         (B, C)
"""

import torch
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.decoding.options import check_known
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.queries import AttentionLayer, GroupLinear

AUTHORS_DECODER = dict(hidden_size=768, num_heads=8, feedforward_ratio=8 / 3, dropout=0.1)


@MODELS.register_module()
class MLDecoderHead(MultiLabelClsHead):
    """Group queries with attention (Ridnik et al., WACV 2023) on a map or tokens.

    The queries are drawn once and not trained; they belong to the checkpoint. Cells have no
    positions, so that their order does not matter.

    Args:
        num_classes: C.
        in_channels: D.
        num_groups: K; None for a query for each class, and 100 if there are more classes.
        decoder: options of `AttentionLayer` to override: `hidden_size`, `num_heads`,
            `feedforward_ratio`, `dropout`.
        drop_class_token: whether the first token of (B, L, D) features is a class token.
        **kwargs: arguments of `MultiLabelClsHead`.

    Raises:
        ValueError: an option of the decoder is unknown, a size is not positive, there are more
            groups than classes, or the heads of the attention do not share H evenly.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_groups: int | None = None,
        decoder: dict | None = None,
        drop_class_token: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        groups = min(num_classes, 100) if num_groups is None else num_groups
        check_sizes(num_groups=groups)
        if groups > num_classes:
            raise ValueError(
                f"num_groups={groups} is more than {num_classes} classes; set it to "
                f"{num_classes} at most"
            )
        self.in_channels = in_channels
        self.drop_class_token = drop_class_token
        check_known("decoder", decoder or {}, AUTHORS_DECODER)
        options = AUTHORS_DECODER | (decoder or {})
        hidden_size = options["hidden_size"]
        self.layer = AttentionLayer(**options)
        self.cells = nn.Sequential(nn.Linear(in_channels, hidden_size), nn.ReLU())
        self.register_buffer("queries", torch.randn(groups, hidden_size))
        self.query_dropout = nn.Dropout(options["dropout"])
        self.query_norm = nn.LayerNorm(hidden_size)
        self.classifier = GroupLinear(groups, hidden_size, num_classes)

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the queries that attended to the cells, shape (B, K, H)."""
        cells, _ = as_grid(feats, self.in_channels, self.drop_class_token)
        memory = self.cells(cells)  # (B, L, H)
        queries = self.queries.expand(memory.shape[0], -1, -1)
        queries = self.query_norm(queries + self.query_dropout(queries))
        return self.layer(queries, memory, memory)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, shape (B, C)."""
        return self.classifier(self.pre_logits(feats))
