"""A trained model as one ONNX graph: images in, label sets out.

Letters: B images of H×W pixels, C classes, T steps, L = h·w cells.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn

from mmorderless.models.decoding.search import greedy_choice
from mmorderless.models.heads.chain_head import ChainHead
from mmorderless.models.heads.class_query_head import ClassQueryHead
from mmorderless.models.heads.ctran_head import CTranHead
from mmorderless.models.heads.decided_head import DecidedHead
from mmorderless.models.heads.decisions import choose_best
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.glimpse_head import GlimpseHead
from mmorderless.models.heads.known_sets_head import KnownSetsHead
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

OPSET = 18
"""Version of ONNX's operators, that of torch's exporter, which needs no conversion."""

Parameters = dict[str, Tensor]


class GraphOutputs(NamedTuple):
    """Outputs of a graph.

    Args:
        tokens: emitted labels, then END (C), int64, shape (B, T).
        probabilities: of each token, 0 after the first END, shape (B, T).
        scores: `pred_score`, shape (B, C).
        attention: where the model looked for each label, 0 from END on, shape (B, T, h, w), or
            (B, T, L) for tokens; None unless asked for.
    """

    tokens: Tensor
    probabilities: Tensor
    scores: Tensor
    attention: Tensor | None


class LabelSetGraph(nn.Module):
    """A model from pixels to emitted tokens, without shapes or branches that depend on values.

    The parts of the model and the rules of its head are its own; a sequence is decoded for all
    `max_steps`, and what follows END is masked.

    Args:
        model: a trained model in evaluation mode.
        with_attention: whether the graph has the attention maps.

    Attributes:
        defaults: default of each operating parameter, which is an input of the graph.
        emits: `sequence`, or the order of an independent head's labels in its predictions:
            `classes` or `scores`.

    Raises:
        ValueError: the head cannot be exported, or has no attention.
    """

    def __init__(self, model: Any, with_attention: bool = False) -> None:
        super().__init__()
        head = getattr(model, "head", None)
        predict = getattr(type(head), "predict", None)
        if predict not in EMITTERS:
            raise ValueError(
                f"the predictions of {type(head).__name__} cannot be exported; give a model with "
                "one of this package's heads or a multi-label head of mmpretrain"
            )
        self.model = model
        self.with_attention = with_attention
        self._emit = EMITTERS[predict]
        self.emits = "sequence"
        self.defaults: dict[str, float | bool] = {}
        if isinstance(head, OrderlessRNNHead):
            decoding = head.decoding
            searches = dict(beam_width=decoding.beam_width, path_threshold=decoding.path_threshold)
            if searches != dict(beam_width=1, path_threshold=None):
                greedy = dict(beam_width=1, open_beam=False, length_penalty=0)
                if decoding.path_threshold is not None:
                    greedy = dict(beam_width=1, path_threshold=None, stop_threshold=0.5)
                options = " ".join(f"model.head.decoding.{key}={greedy[key]}" for key in greedy)
                raise ValueError(
                    f"a search over sequences cannot be exported ({searches}); decode greedily: "
                    f"--cfg-options {options}"
                )
            self.defaults["end_bias"] = float(decoding.end_bias)
            self.defaults["no_repeat"] = bool(decoding.no_repeat)
            if decoding.stop_threshold is not None:
                self.defaults["stop_threshold"] = decoding.stop_threshold
        elif isinstance(head, KnownSetsHead):
            self.defaults = {"theta": float(head.theta)}
        else:
            takes_best = head.thr is None and not isinstance(head, DecidedHead)  # the top k
            by_score = takes_best or isinstance(head, ClassQueryHead)
            self.emits = "scores" if by_score else "classes"
            if head.thr is not None:
                self.defaults = {"threshold": float(head.thr)}
        if with_attention:
            if isinstance(head, OrderlessRNNHead):
                head.decoder.check_attends()
            elif not isinstance(head, ClassQueryHead):
                raise ValueError(
                    f"{type(head).__name__} gives no attention maps; export without --attention"
                )

    def forward(self, images: Tensor, parameters: Parameters) -> tuple[Tensor, ...]:
        """Return the graph's outputs; see `GraphOutputs`.

        Args:
            images: RGB, uint8, shape (B, 3, H, W).
            parameters: scalars by name, as in `defaults`.
        """
        inputs = self.model.data_preprocessor({"inputs": images.flip(1)}, False)["inputs"]
        feats = self.model.extract_feat(inputs)
        outputs = self._emit(self.model.head, feats, parameters, self.with_attention)
        return tuple(output for output in outputs if output is not None)


def emit_sequence(
    head: OrderlessRNNHead, feats: Features, parameters: Parameters, with_attention: bool
) -> GraphOutputs:
    """Decode greedily for `max_steps`."""
    grid, layout = as_grid(feats, head.in_channels, head.drop_class_token)
    grid = head.decoder.encode(grid)
    decoding = copy.copy(head.decoding)
    vars(decoding).update(parameters)  # tensors, which its checks would read
    emitted = torch.zeros(grid.shape[0], head.num_classes, dtype=torch.bool, device=grid.device)
    rollout = head.decoder.rollout(
        grid,
        head.max_steps,
        return_attention=with_attention,
        choose=greedy_choice(decoding, emitted),
    )
    emission = head.read_rollout(rollout, grid)
    steps = torch.arange(head.max_steps, device=grid.device)
    after = steps > emission.length[:, None]
    maps = None
    if rollout.attention is not None:
        ended = steps >= emission.length[:, None]
        maps = rollout.attention.float().masked_fill(ended[:, :, None], 0).unflatten(2, layout)
    return GraphOutputs(
        emission.tokens.masked_fill(after, head.num_classes),
        emission.probabilities.masked_fill(after, 0),
        emission.scores,
        maps,
    )


def emit_known_sets(
    head: KnownSetsHead, feats: Features, parameters: Parameters, with_attention: bool
) -> GraphOutputs:
    """Emit the set of least risk in C + 1 steps."""
    cells, layout = as_grid(feats, head.in_channels, head.drop_class_token)
    found = head.queries(cells)
    distribution = head.distribution(found)
    chosen = distribution.choose(parameters["theta"], head.beta)
    emitted = distribution.emit(chosen, head.num_classes)
    steps = torch.arange(head.num_classes + 1, device=cells.device)
    length = emitted.length[:, None]
    tokens = F.pad(emitted.tokens, (0, 1)).where(steps < length, head.num_classes)
    p = F.pad(emitted.probabilities, (0, 1)).where(steps < length, 0)
    p = torch.where(steps == length, emitted.end[:, None], p)
    maps = maps_of(tokens, found.attention, layout) if with_attention else None
    return GraphOutputs(tokens, p, distribution.marginals, maps)


def emit_independent(
    head: MultiLabelClsHead, feats: Features, parameters: Parameters, with_attention: bool
) -> GraphOutputs:
    """Emit the labels that reach the threshold, or that the head chooses, by falling score."""
    chosen = maps = None
    if isinstance(head, ClassQueryHead):
        cells, layout = as_grid(feats, head.in_channels, head.drop_class_token)
        found = head.queries(cells)
        scores = found.logits.float().sigmoid()
    elif isinstance(head, DecidedHead):
        features = head.pre_logits(feats)
        scores, chosen = head.decision(features, head.fc(features))
    else:
        logits = head(feats)
        scores = logits.softmax(1) if isinstance(head, GlimpseHead) else logits.sigmoid()
    if "threshold" in parameters:
        chosen = scores >= parameters["threshold"]
    elif chosen is None:
        chosen = choose_best(scores, torch.full_like(scores[:, 0], head.topk))
    end = scores.shape[1]
    p, order = scores.masked_fill(~chosen, -1).sort(dim=1, descending=True, stable=True)
    is_label = torch.arange(end, device=scores.device) < chosen.sum(1)[:, None]
    tokens = F.pad(order.where(is_label, end), (0, 1), value=end)
    if with_attention:
        maps = maps_of(tokens, found.attention, layout)
    return GraphOutputs(tokens, F.pad(p.where(is_label, 0), (0, 1)), scores, maps)


def maps_of(tokens: Tensor, attention: Tensor, layout: tuple[int, ...]) -> Tensor:
    """Return the map of each token's class, 0 for END, shape (B, T, h, w) or (B, T, L).

    Args:
        tokens: shape (B, T).
        attention: of each class, shape (B, C, L).
        layout: (h, w) or (L,).
    """
    maps = F.pad(attention.float(), (0, 0, 0, 1))  # (B, C + 1, L)
    index = tokens[:, :, None].expand(-1, -1, maps.shape[2])
    return maps.gather(1, index).unflatten(2, layout)


EMITTERS: dict[Callable, Callable[..., GraphOutputs]] = {
    OrderlessRNNHead.predict: emit_sequence,
    KnownSetsHead.predict: emit_known_sets,
    **dict.fromkeys(
        (
            *(MultiLabelClsHead.predict, ClassQueryHead.predict, DecidedHead.predict),
            *(GlimpseHead.predict, ChainHead.predict, CTranHead.predict),
        ),
        emit_independent,
    ),
}
"""How the predictions of a head's `predict` are emitted; a head with another one is refused."""
