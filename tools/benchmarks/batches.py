"""Random inputs of the parts, the same for ours and for the reference."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.attention_rnn import AttentionLSTM

COUNT = 1 / 16
"""What the counting unit gains at a step; exact in bfloat16, as are its multiples."""
SURE = 20.0
"""Where a sigmoid is 1 within float32's precision."""


def random_labels(
    counts: Sequence[int], num_classes: int, device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Label sets of images, each sorted and drawn at random.

    Args:
        counts: n_i.
        num_classes: C.
        device: where the sets are.
    """
    return [torch.randperm(num_classes)[:n].sort()[0].to(device) for n in counts]


def fixed_tokens(labels: Sequence[Tensor], end: int) -> Tensor:
    """Target tokens (B, T): each image's labels as they are, END, then IGNORE."""
    tokens = torch.full((len(labels), max(map(len, labels)) + 1), IGNORE)
    for i, label_set in enumerate(labels):
        tokens[i, : len(label_set)] = label_set
        tokens[i, len(label_set)] = end
    return tokens


@torch.no_grad()
def make_it_count(decoder: AttentionLSTM, features: Tensor, counts: Sequence[int]) -> None:
    """Let weights and features decide when END comes: after n_i labels.

    Of random weights nobody knows when they emit END. Here the first channel of an image's
    features, the same in all cells, is −(n_i + ½) / 16; it becomes the initial cell of the LSTM's
    first unit, which gains 1/16 at each step and whose sign END's logit follows. So any decoder
    with these weights ends each image at its step, and none is slowed down by it.

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
def end_after(decoder: AttentionLSTM, count: int) -> None:
    """Let every image end after the same number of labels, whatever its features.

    Args:
        decoder: changed in place, as by `make_it_count`.
        count: number of labels.
    """
    decoder.init_cell.weight[0] = 0
    decoder.init_cell.bias[0] = -COUNT * (count + 0.5)
    _count_in_first_unit(decoder)


def _count_in_first_unit(decoder: AttentionLSTM) -> None:
    """Make the LSTM's first unit gain 1/16 at each step and END's logit follow its sign."""
    size, end = decoder.lstm.hidden_size, decoder.vocabulary.end
    candidate = math.atanh(COUNT)  # the cell takes its tanh
    for gate, value in enumerate((SURE, SURE, candidate, SURE)):  # input, forget, …, output
        row = gate * size
        decoder.lstm.weight_ih[row] = 0
        decoder.lstm.weight_hh[row] = 0
        decoder.lstm.bias_ih[row] = value
        decoder.lstm.bias_hh[row] = 0
    decoder.classifier.weight[end] = 0
    decoder.classifier.weight[end, 0] = 1e4
    decoder.classifier.bias[end] = 0
