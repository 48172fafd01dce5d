"""An LSTM on class queries: they score the labels, and it says when to stop.

Letters: as in `attention_rnn`; z the logits of `ClassQueries`, e_t the labels emitted before step t
as 0 and 1.

    h_0, c_0 = tanh(W_i drop(mean of the cells)), 0
    x_t      = [embedding(token_{t−1}), σ(z), e_t]
    h_t, c_t = LSTM(x_t, h_{t−1}, c_{t−1})
    u        = σ(z) ⊙ (1 − e_t)                                     labels that are left
    s_t      = [Σ u, max u, Σ log(1 − u)]
    logits_t = [α z + W drop(h_t), w · drop(h_t) + v · s_t + b]     W only with `corrects`

The logits of emitted labels are MASKED. α starts at 1 and W at 0. The σ(z) of x_t and of u have no
gradient: the sequence's loss reaches z through α z alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.labels.vocabulary import MASKED
from mmorderless.models.class_queries import ClassQueries
from mmorderless.models.decoders.base import LabelDecoder, check_sizes
from mmorderless.models.decoders.dropout import drop_entries
from mmorderless.models.decoders.image_classifier import label_vectors


class ClassQueryState(NamedTuple):
    """State between two steps.

    Args:
        hidden: h, shape (R, H).
        cell: c, shape (R, H).
        emitted: e, shape (R, C), bool.
        logits: z, shape (R, C).
        maps: attention of the class queries, shape (R, C, L).
    """

    hidden: Tensor
    cell: Tensor
    emitted: Tensor
    logits: Tensor
    maps: Tensor


@MODELS.register_module()
class ClassQueryLSTM(LabelDecoder):
    """LSTM decoder on class queries, a variant of ours; no label is emitted twice.

    The class queries also learn each label by itself, by binary cross-entropy; σ(z) are the class
    scores. A label's attention is that of its query.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E.
        dropout: probability at every `drop`, those of `ClassQueries` included.
        class_hidden_size: G of `ClassQueries`.
        query_size: M of `ClassQueries`.
        corrects: whether the LSTM also changes the logits of the labels, by W h_t.
        sequence_weight: factor on the loss of the sequence, divided by C.
        graphed: see `LabelDecoder`; the class queries are not in the graph.

    Raises:
        ValueError: a size is not positive, or the dropout is not in [0, 1).
    """

    attends = True
    masks_emitted = True
    score = "own"

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 256,
        embed_size: int = 128,
        dropout: float = 0.5,
        class_hidden_size: int = 1024,
        query_size: int = 256,
        corrects: bool = False,
        sequence_weight: float = 4.0,
        graphed: bool = False,
    ) -> None:
        super().__init__(num_classes, graphed)
        check_sizes(in_channels=in_channels, hidden_size=hidden_size, embed_size=embed_size)
        self.dropout = dropout
        self.sequence_weight = sequence_weight / num_classes
        self.queries = ClassQueries(
            num_classes, in_channels, class_hidden_size, query_size, dropout
        )
        self.init_hidden = nn.Linear(in_channels, hidden_size)
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)
        self.lstm = nn.LSTMCell(embed_size + 2 * num_classes, hidden_size)
        self.alpha = nn.Parameter(torch.ones(()))
        self.correction: nn.Linear | None = None
        if corrects:
            self.correction = nn.Linear(hidden_size, num_classes, bias=False)
            nn.init.zeros_(self.correction.weight)
        self.end = nn.Linear(hidden_size + 3, 1)

    def encode(self, grid: Tensor) -> Tensor:
        """Return z, h_0 and the attention maps in one tensor, shape (B, C + H + C·L).

        `grid` are cells (B, L, D), or what this method returned.
        """
        if grid.dim() == 2:
            return grid
        found = self.queries(grid)
        hidden = self.init_hidden(self.drop(grid.mean(1))).tanh()
        return torch.cat([found.logits, hidden, found.attention.detach().flatten(1)], 1)

    def decompose(self, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z (B, C), h_0 (B, H) and the attention maps (B, C, L); see `encode`."""
        num_classes, hidden_size = self.vocabulary.num_classes, self.lstm.hidden_size
        encoded = self.encode(grid)
        sizes = (num_classes, hidden_size, encoded.shape[1] - num_classes - hidden_size)
        logits, hidden, maps = encoded.split(sizes, 1)
        return logits, hidden, maps.unflatten(1, (num_classes, -1))

    def class_scores(self, grid: Tensor) -> Tensor:
        """Return σ(z), shape (B, C), float32."""
        return self.decompose(grid)[0].float().sigmoid()

    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_classes`, the binary cross-entropy of z, a mean over both axes."""
        logits = self.decompose(grid)[0].float()
        truth = label_vectors(labels, logits.shape[1], logits.device)
        return {"loss_classes": F.binary_cross_entropy_with_logits(logits, truth)}

    def init_state(self, grid: Tensor) -> ClassQueryState:
        """See `LabelDecoder.init_state`; `grid` may be what `encode` returned."""
        logits, hidden, maps = self.decompose(grid)
        emitted = torch.zeros_like(logits, dtype=torch.bool)
        return ClassQueryState(hidden, torch.zeros_like(hidden), emitted, logits, maps)

    def step(self, token: Tensor, state: ClassQueryState) -> tuple[Tensor, ClassQueryState, Tensor]:
        """Decode one step, see `LabelDecoder.step`; END and START are no labels."""
        logits = state.logits
        classes = torch.arange(logits.shape[1], device=token.device)
        emitted = state.emitted | (token[:, None] == classes)
        scores = logits.detach().sigmoid()
        x = torch.cat([self.embedding(token), scores, emitted.to(scores.dtype)], 1)
        hidden, cell = self.lstm(x, (state.hidden, state.cell))

        left = scores.masked_fill(emitted, 0)
        log_rest = F.logsigmoid(-logits.detach()).masked_fill(emitted, 0)  # of log(1 − u)
        summary = torch.stack([left.sum(1), left.amax(1), log_rest.sum(1)], 1)  # s_t
        seen = self.drop(hidden)
        end = self.end(torch.cat([seen, summary.to(seen.dtype)], 1))
        of_classes = self.alpha * logits
        if self.correction is not None:
            of_classes = of_classes + self.correction(seen)
        masked = of_classes.masked_fill(emitted, MASKED)
        state = state._replace(hidden=hidden, cell=cell, emitted=emitted)
        return torch.cat([masked, end], 1), state, state.maps

    def reorder(self, state: ClassQueryState, rows: Tensor) -> ClassQueryState:
        """See `LabelDecoder.reorder`; logits and maps of the classes depend on the image alone."""
        hidden, cell, emitted = (values[rows] for values in state[:3])
        return state._replace(hidden=hidden, cell=cell, emitted=emitted)

    def drop(self, values: Tensor) -> Tensor:
        """Apply dropout in training."""
        return drop_entries(values, self.dropout, self.training)
