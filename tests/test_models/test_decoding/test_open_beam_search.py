"""Beam searches, CNN-RNN's among them, against the same written for one image in plain Python."""

import math

import pytest
import torch

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.beam_search import beam_search, open_beam_search
from mmorderless.models.decoding.beams import Beam
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import decode

CLASSES, MAX_STEPS = 3, 5
START, END = CLASSES + 1, CLASSES


class NextTokenTables(LabelDecoder):
    """Logits of each image that depend on step and previous token; the cells are the tables."""

    def __init__(self):
        super().__init__(CLASSES)

    def init_state(self, grid):
        return grid, 0

    def step(self, token, state):
        tables, t = state
        return tables[torch.arange(len(token)), t, token], (tables, t + 1), None


def make_tables(number=200):
    torch.manual_seed(0)
    return 2 * torch.randn(number, MAX_STEPS, CLASSES + 2, CLASSES + 1)


def plain_search(table, width):
    """The best hypotheses of one image, as (log p, tokens)."""
    log_p = table.double().log_softmax(2).tolist()
    opened, ended = [(0.0, ())], []
    for t in range(MAX_STEPS):
        following = [
            (p + log_p[t][tokens[-1] if tokens else START][token], (*tokens, token))
            for p, tokens in opened
            for token in range(CLASSES + 1)
        ]
        ended += [hypothesis for hypothesis in following if hypothesis[1][-1] == END]
        ended = sorted(ended, reverse=True)[:width]
        opened = [hypothesis for hypothesis in following if hypothesis[1][-1] != END]
        opened = sorted(opened, reverse=True)[:width]
        if len(ended) == width and opened[0][0] < ended[-1][0]:
            break
    return sorted(ended + opened, reverse=True)[:width]


def plain_usual_search(table, width, penalty):
    """The beam of one image in which ended hypotheses stay, as (log p, tokens)."""
    log_p = table.double().log_softmax(2).tolist()
    beam = [(0.0, ())]
    for t in range(MAX_STEPS):
        following = [
            (p + log_p[t][tokens[-1] if tokens else START][token], (*tokens, token))
            for p, tokens in beam
            if END not in tokens
            for token in range(CLASSES + 1)
        ]
        following += [hypothesis for hypothesis in beam if END in hypothesis[1]]
        following.sort(key=lambda found: found[0] / len(found[1]) ** penalty, reverse=True)
        beam = following[:width]
    return beam


def up_to_end(tokens):
    tokens = tokens.tolist()
    return tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_it_equals_the_plain_search(width):
    tables = make_tables()
    beams = open_beam_search(Beam(NextTokenTables(), tables, MAX_STEPS, Decoding(beam_width=width)))
    for table, log_p, tokens in zip(tables, beams.log_probability, beams.tokens):
        expected = plain_search(table, width)
        assert [up_to_end(row) for row in tokens] == [found for _, found in expected]
        assert log_p.tolist() == pytest.approx([p for p, _ in expected], abs=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_usual_search_equals_the_plain_one(penalty):
    """The length penalty ranks at each step, not only at the end."""
    tables, options = make_tables(), Decoding(beam_width=3, length_penalty=penalty)
    beams = beam_search(Beam(NextTokenTables(), tables, MAX_STEPS, options))
    for table, log_p, tokens in zip(tables, beams.log_probability, beams.tokens):
        expected = plain_usual_search(table, 3, penalty)
        assert [up_to_end(row) for row in tokens] == [found for _, found in expected]
        assert log_p.tolist() == pytest.approx([p for p, _ in expected], abs=1e-4)


def test_ended_hypotheses_take_no_place_in_the_beam():
    """The usual beam loses the open hypothesis that becomes the best one in some images."""
    tables, decoder, options = make_tables(), NextTokenTables(), Decoding(beam_width=2)
    usual = beam_search(Beam(decoder, tables, MAX_STEPS, options))
    opened = open_beam_search(Beam(decoder, tables, MAX_STEPS, options))
    gain = opened.log_probability[:, 0] - usual.log_probability[:, 0]
    assert (gain > 1e-3).sum() >= 5
    assert (gain > -1e-5).all()


def test_the_search_stops_when_no_open_hypothesis_can_enter(monkeypatch):
    decoder, calls = NextTokenTables(), []
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda token, state: calls.append(1) or step(token, state))
    table = torch.zeros(1, MAX_STEPS, CLASSES + 2, CLASSES + 1)
    table[..., END] = 9.0  # END at once, or after one label: the two best
    best = open_beam_search(Beam(decoder, table, MAX_STEPS, Decoding(beam_width=2)))
    assert len(calls) == 2
    assert up_to_end(best.tokens[0, 0]) == (END,)
    assert math.exp(best.log_probability[0, 0]) > 0.99


def test_the_option_selects_the_search():
    tables, decoder = make_tables(), NextTokenTables()
    _, beams = decode(decoder, tables, MAX_STEPS, Decoding(beam_width=2, open_beam=True))
    expected = open_beam_search(Beam(decoder, tables, MAX_STEPS, Decoding(beam_width=2)))
    assert torch.equal(beams.tokens, expected.tokens)
    for options in ({}, dict(beam_width=2, length_penalty=1.0)):
        with pytest.raises(ValueError, match=r"open_beam=True .*; set beam_width above 1"):
            Decoding(open_beam=True, **options)


def test_logits_and_tokens_of_the_best_belong_together():
    tables, decoder = make_tables(), NextTokenTables()
    best = open_beam_search(Beam(decoder, tables, MAX_STEPS, Decoding(beam_width=3))).best
    for table, logits, tokens in zip(tables, best.logits, best.tokens):
        fed = [START, *up_to_end(tokens)][:-1]
        torch.testing.assert_close(logits[: len(fed)], table[range(len(fed)), fed])
