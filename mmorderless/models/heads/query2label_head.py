"""Query2Label's head: a learned query for each class attends to the cells of a map.

Letters: B images, L cells of D channels, C classes, H hidden size; p the cells' positions, e the
queries. Layers are those of `AttentionLayer(x, keys, values, positions)`.

    m      = cells, projected to H where D is another size          (B, L, H)
    m      = layer(m, m + p, m, p)                                  the encoder
    q      = layer(q, m + p, m, e)         twice, from q = 0        the decoder, (B, C, H)
    logits = w_c · LayerNorm(q_c) + b_c                             (B, C)
"""

import torch
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoding.options import check_known
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.queries import AttentionLayer, GroupLinear, cell_positions

NUM_DECODER_LAYERS = 2
DECODER = dict(hidden_size=512, num_heads=4, feedforward_ratio=4, dropout=0.1)


@MODELS.register_module()
class Query2LabelHead(MultiLabelClsHead):
    """Class queries with attention (Liu et al. 2021) on a map or tokens.

    There is no self-attention among the queries, as in the authors' released models. The positions
    are added to keys and queries, not to values; a map of any size has them.

    Args:
        num_classes: C.
        in_channels: D.
        decoder: options of `AttentionLayer` to override: `hidden_size`, `num_heads`,
            `feedforward_ratio`, `dropout`. The authors have `hidden_size` D, and no projection.
        drop_class_token: whether the first token of (B, L, D) features is a class token.
        **kwargs: arguments of `MultiLabelClsHead`.

    Raises:
        ValueError: an option of the decoder is unknown, a size is not positive, H is odd, or the
            heads of the attention do not share it evenly.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        decoder: dict | None = None,
        drop_class_token: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_known("decoder", decoder or {}, DECODER)
        options = DECODER | (decoder or {})
        hidden_size = options["hidden_size"]
        if hidden_size % 2:
            raise ValueError(
                f"hidden_size={hidden_size} cannot be shared by the two axes of a map; set "
                "decoder.hidden_size to an even number"
            )
        self.in_channels = in_channels
        self.drop_class_token = drop_class_token
        projected = in_channels != hidden_size
        self.cells = nn.Linear(in_channels, hidden_size) if projected else nn.Identity()
        self.encoder = AttentionLayer(**options)
        self.queries = nn.Parameter(torch.randn(num_classes, hidden_size))
        self.layers = nn.ModuleList(AttentionLayer(**options) for _ in range(NUM_DECODER_LAYERS))
        self.norm = nn.LayerNorm(hidden_size)
        self.classifier = GroupLinear(num_classes, hidden_size, num_classes)

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the queries that attended to the cells, shape (B, C, H)."""
        grid, layout = as_grid(feats, self.in_channels, self.drop_class_token)
        cells = self.cells(grid)  # (B, L, H)
        positions = cell_positions(layout, cells.shape[2], cells)  # (L, H)
        cells = self.encoder(cells, cells + positions, cells, positions)
        queries = cells.new_zeros(cells.shape[0], *self.queries.shape)
        for layer in self.layers:
            queries = layer(queries, cells + positions, cells, self.queries)
        return self.norm(queries)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, shape (B, C)."""
        return self.classifier(self.pre_logits(feats))
