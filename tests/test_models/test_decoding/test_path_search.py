"""Beam search with a threshold on the path's probability, as in the order-free RNN."""

import math
from itertools import permutations

import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.beams import Beam
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.path_search import path_search

START, END = 4, 3
# Probabilities of the classes 0, 1, 2 after each token; END's logit does not matter.
NEXT = {START: (0.6, 0.5, 0.1), 0: (0.9, 0.5, 0.5), 1: (0.1, 0.9, 0.9), 2: (0.5, 0.5, 0.5)}


class NextProbabilities(LabelDecoder):
    """Class probabilities that depend only on the previous token."""

    def __init__(self, num_classes=3, in_channels=1):
        super().__init__(num_classes)
        rows = [NEXT.get(token, (0.5, 0.5, 0.5)) for token in range(5)]
        self.logits = torch.cat([torch.tensor(rows).logit(), torch.full((5, 1), 9.0)], 1)

    def init_state(self, grid):
        return ()

    def step(self, token, state):
        return self.logits[token], state, None


def labels_of(max_steps=4, **options):
    decoding = Decoding(no_repeat=True, **options)
    beams = path_search(Beam(NextProbabilities(), torch.zeros(1, 1, 1), max_steps, decoding))
    tokens = beams.best.tokens[0].tolist()
    return tokens[: tokens.index(END)] if END in tokens else tokens


def test_the_beam_finds_the_path_that_the_greedy_choice_misses():
    # Greedy: 0 (0.6), then 1 (0.3). The beam: 1 (0.5), then 2 (0.45).
    assert labels_of(path_threshold=0.4) == [0]
    assert labels_of(path_threshold=0.4, beam_width=2) == [1, 2]
    assert labels_of(path_threshold=0.46, beam_width=2) == [0]
    assert labels_of(path_threshold=0.7, beam_width=2) == []


def test_the_threshold_is_on_the_product_not_on_each_probability():
    assert labels_of(path_threshold=0.59) == [0]
    assert labels_of(path_threshold=0.29) == [0, 1]  # 0.6 · 0.5
    # 0.6 · 0.5 · 0.9: each label is as probable as 0.5
    assert labels_of(path_threshold=0.28) == [0, 1]
    assert labels_of(path_threshold=0.26) == [0, 1, 2]


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.3])
def test_a_wide_beam_is_exhaustive_search(threshold):
    """Of each length the most probable path; of these the longest that reaches the threshold."""
    torch.manual_seed(0)
    classes, steps = 4, 4
    head = MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=classes,
            in_channels=5,
            max_steps=classes + 1,
            decoder=dict(type="OrderFreeRNN", hidden_size=6, attention_size=4),
            loss=dict(type="OrderFreeLoss"),
            decoding=dict(path_threshold=threshold, no_repeat=True, beam_width=64),
        )
    ).eval()
    for parameter in head.parameters():
        parameter.data.mul_(4)
    feats = torch.randn(12, 5, 2, 2)
    lengths = set()
    for sample, cells in zip(head.predict((feats,)), head.pre_logits((feats,))):
        expected = ()
        for n in range(1, steps + 1):
            paths = {
                path: probability(head.decoder, cells, path) for path in permutations(range(4), n)
            }
            best = max(paths, key=paths.get)
            if paths[best] < threshold:
                break
            expected = best
        assert tuple(sample.pred_label.tolist()) == expected
        lengths.add(len(expected))
    assert len(lengths) > 1


@torch.no_grad()
def probability(decoder, cells, path):
    product, state, token = 1.0, decoder.init_state(cells[None]), decoder.vocabulary.start
    for label in path:
        logits, state, _ = decoder.step(torch.tensor([token]), state)
        product *= float(logits[0, label].sigmoid())
        token = label
    return product


def test_numbers_of_labels_are_kept():
    assert labels_of(path_threshold=0.9, min_labels=2) == [0, 1]
    assert labels_of(path_threshold=0.9, min_labels=2, beam_width=2) == [1, 2]
    assert labels_of(path_threshold=0.01, max_labels=1) == [0]
    assert labels_of(path_threshold=0.01, max_steps=2) == [0, 1]
    assert sorted(labels_of(path_threshold=1e-9)) == [0, 1, 2]  # then no label is left


@pytest.mark.parametrize(
    "bias, emitted", [(-99.0, []), (0.0, [0]), (0.5, [0, 1]), (99.0, [0, 1, 2])]
)
def test_end_bias_is_subtracted_from_the_logit_of_the_threshold(bias, emitted):
    # sigmoid(logit(0.4) − 0.5) = 0.288
    assert labels_of(path_threshold=0.4, end_bias=bias) == emitted
    threshold = math.exp(Decoding(path_threshold=0.4, end_bias=0.5).log_path_threshold)
    assert threshold == pytest.approx(0.2879, abs=1e-4)


@pytest.mark.parametrize("width", [1, 3])
def test_images_that_ended_wait_unchanged(width):
    torch.manual_seed(0)
    decoder = MODELS.build(
        dict(type="OrderFreeRNN", num_classes=5, in_channels=4, hidden_size=6, attention_size=4)
    ).eval()
    for parameter in decoder.parameters():
        parameter.data.mul_(4)
    grid, decoding = (
        torch.randn(9, 3, 4),
        Decoding(path_threshold=0.2, beam_width=width, no_repeat=True),
    )
    together = path_search(Beam(decoder, grid, 6, decoding, return_attention=True))
    ends = (together.best.tokens == 5).sum(1)
    assert len(set(ends.tolist())) > 1
    for i in range(len(grid)):
        alone = path_search(Beam(decoder, grid[i : i + 1], 6, decoding, return_attention=True)).best
        steps = alone.tokens.shape[1]
        assert torch.equal(alone.tokens[0], together.best.tokens[i, :steps])
        torch.testing.assert_close(alone.logits[0], together.best.logits[i, :steps])
        torch.testing.assert_close(alone.attention[0], together.best.attention[i, :steps])


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(path_threshold=1.0), r"path_threshold must be between 0 and 1, got 1.0"),
        (
            dict(path_threshold=0.5, stop_threshold=0.5),
            "stop_threshold=0.5 .* path_threshold alone",
        ),
        (
            dict(path_threshold=0.5, beam_width=2, length_penalty=1.0),
            "path_threshold=0.5 .* length_penalty=1.0",
        ),
        (
            dict(path_threshold=0.5, beam_width=2, open_beam=True),
            "path_threshold=0.5 .* open_beam=True",
        ),
    ],
)
def test_options_that_exclude_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**options)
