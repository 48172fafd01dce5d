"""Random inputs, the same for ours and for the baseline."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.attention_rnn import AttentionLSTM

COUNT = 1 / 16
"""Increment of the counting unit per step; it and its multiples are exact in bfloat16."""
SATURATED = 20.0
"""Logit at which a sigmoid is 1 in float32."""


def random_labels(
    counts: Sequence[int], num_classes: int, device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Draw label sets at random.

    Args:
        counts: n_i.
        num_classes: C.
        device: of the label sets.

    Returns:
        Ascending class indices of each image.
    """
    return [torch.randperm(num_classes)[:n].sort()[0].to(device) for n in counts]


def fixed_tokens(labels: Sequence[Tensor], end: int) -> Tensor:
    """Return target tokens (B, T): each image's labels in the given order, END, then IGNORE."""
    tokens = torch.full((len(labels), max(map(len, labels)) + 1), IGNORE)
    for i, label_set in enumerate(labels):
        tokens[i, : len(label_set)] = label_set
        tokens[i, len(label_set)] = end
    return tokens


@torch.no_grad()
def force_end_after(decoder: AttentionLSTM, features: Tensor, counts: Sequence[int]) -> None:
    """Set weights and features so that image i emits END after n_i labels.

    With random weights the step of END is arbitrary. Here the first channel of an image's features,
    equal in all cells, is −(n_i + ½) / 16; it becomes the initial cell of the LSTM's first unit,
    which gains 1/16 per step, and END's logit follows its sign. The cost of a step stays the same.

    Args:
        decoder: changed in place.
        features: shape (B, D, L), changed in place.
        counts: n_i.
    """
    features[:, 0] = -COUNT * (torch.tensor(counts, device=features.device)[:, None] + 0.5)
    decoder.init_cell.weight[0] = 0
    decoder.init_cell.weight[0, 0] = 1
    decoder.init_cell.bias[0] = 0
    _count_in_first_unit(decoder)


@torch.no_grad()
def force_end_of_all_after(decoder: AttentionLSTM, count: int) -> None:
    """Set weights so that every image emits END after the same number of labels.

    Args:
        decoder: changed in place.
        count: number of labels.
    """
    decoder.init_cell.weight[0] = 0
    decoder.init_cell.bias[0] = -COUNT * (count + 0.5)
    _count_in_first_unit(decoder)


def _count_in_first_unit(decoder: AttentionLSTM) -> None:
    """Make the LSTM's first unit gain 1/16 per step and END's logit follow its sign."""
    size, end = decoder.lstm.hidden_size, decoder.vocabulary.end
    candidate = math.atanh(COUNT)  # the cell takes its tanh
    gates = (SATURATED, SATURATED, candidate, SATURATED)  # input, forget, candidate, output
    for gate, value in enumerate(gates):
        row = gate * size
        decoder.lstm.weight_ih[row] = 0
        decoder.lstm.weight_hh[row] = 0
        decoder.lstm.bias_ih[row] = value
        decoder.lstm.bias_hh[row] = 0
    decoder.classifier.weight[end] = 0
    decoder.classifier.weight[end, 0] = 1e4
    decoder.classifier.bias[end] = 0
