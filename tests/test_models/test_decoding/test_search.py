import itertools
import math
from dataclasses import replace

import pytest
import torch

from mmorderless.models.decoders.attention_rnn import AttentionLSTM
from mmorderless.models.decoding.beam_search import beam_search
from mmorderless.models.decoding.beams import Beam
from mmorderless.models.decoding.emission import read_rollout
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import decode
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

CLASSES, CHANNELS, CELLS, END = 5, 6, 4, 5
SIZES = dict(hidden_size=7, embed_size=4)
GREEDY = Decoding()


def make_decoder(num_classes=CLASSES, seed=0):
    torch.manual_seed(seed)
    decoder = AttentionLSTM(num_classes, CHANNELS, **SIZES, attention_size=5).eval()
    for parameter in decoder.parameters():
        parameter.data.mul_(2)  # so that steps and images differ
    return decoder


def make_grid(batch=6, seed=1):
    torch.manual_seed(seed)
    return torch.randn(batch, CELLS, CHANNELS)


def emitted_labels(tokens, end=END):
    return [row[: row.index(end)] if end in row else row for row in tokens.tolist()]


@torch.no_grad()
def sequence_log_p(decoder, cells, tokens, decoding=GREEDY):
    """Log-probability of one sequence of one image, step by step."""
    end = decoder.vocabulary.end
    state, token, total = decoder.init_state(cells[None]), decoder.vocabulary.start, 0.0
    emitted = torch.zeros(1, decoder.vocabulary.num_classes, dtype=torch.bool)
    for wanted in tokens:
        logits, state, _ = decoder.step(torch.tensor([token]), state)
        total += float(decoding.adjust(logits, emitted).log_softmax(1)[0, wanted])
        token = wanted
        if wanted == end:
            break
        emitted[0, wanted] = True
    return total


def all_sequences(num_classes, max_steps):
    """All sequences that end with END, or are cut at max_steps."""
    for length in range(max_steps):
        for labels in itertools.product(range(num_classes), repeat=length):
            yield [*labels, num_classes]
    yield from map(list, itertools.product(range(num_classes), repeat=max_steps))


@torch.no_grad()
def test_without_options_the_rollout_is_the_plain_one_bit_for_bit():
    decoder, grid = make_decoder(), make_grid()
    plain = decoder.rollout(grid, 6, until_end=True, return_attention=True)
    decoded, beams = decode(decoder, grid, 6, GREEDY, return_attention=True)
    assert beams is None
    assert all(torch.equal(a, b) for a, b in zip(plain, decoded))


@pytest.mark.parametrize("options", [{}, {"end_bias": 0.7}, {"no_repeat": True, "max_labels": 3}])
@torch.no_grad()
def test_a_beam_of_width_one_is_greedy(options):
    decoder, grid, decoding = make_decoder(), make_grid(), Decoding(**options)
    greedy, _ = decode(decoder, grid, 6, decoding, return_attention=True)
    beams = beam_search(Beam(decoder, grid, 6, decoding, return_attention=True))
    assert emitted_labels(beams.best.tokens) == emitted_labels(greedy.tokens)
    for i, labels in enumerate(emitted_labels(greedy.tokens)):
        steps = len(labels) + 1
        torch.testing.assert_close(beams.best.logits[i, :steps], greedy.logits[i, :steps])
        torch.testing.assert_close(beams.best.attention[i, :steps], greedy.attention[i, :steps])


@pytest.mark.parametrize(
    "options",
    [{}, {"length_penalty": 1.0}, {"end_bias": 1.5, "length_penalty": 0.6}, {"no_repeat": True}],
)
def test_a_beam_as_wide_as_all_sequences_is_exhaustive_search(options):
    classes, max_steps = 2, 3
    decoder, grid = make_decoder(classes), make_grid(3)
    sequences = list(all_sequences(classes, max_steps))
    decoding = Decoding(beam_width=len(sequences), **options)
    beams = beam_search(Beam(decoder, grid, max_steps, decoding))
    for i, cells in enumerate(grid):
        log_p = {tuple(s): sequence_log_p(decoder, cells, s, decoding) for s in sequences}
        assert sum(map(math.exp, log_p.values())) == pytest.approx(1, abs=1e-5)
        ranked = sorted(log_p, key=lambda s: -log_p[s] / len(s) ** decoding.length_penalty)
        for k, expected in enumerate(ranked):
            if log_p[expected] == -math.inf:
                break
            assert float(beams.log_probability[i, k]) == pytest.approx(log_p[expected], abs=1e-5)
            found = beams.tokens[i, k, : len(expected)].tolist()
            assert found == list(expected), f"place {k} of image {i}"
        marginal = [
            sum(math.exp(p) for s, p in log_p.items() if label in s) for label in range(classes)
        ]
        assert beams.marginals(classes)[i].tolist() == pytest.approx(marginal, abs=1e-5)


def test_attention_needs_a_decoder_that_attends():
    decoder = AttentionLSTM(CLASSES, CHANNELS, **SIZES, attention_size=None).eval()
    for width in (1, 2):
        with pytest.raises(ValueError, match="no attention to return: this AttentionLSTM"):
            decode(decoder, make_grid(), 4, Decoding(beam_width=width), return_attention=True)


def test_beams_do_not_depend_on_the_other_images():
    decoder, grid, decoding = make_decoder(), make_grid(), Decoding(beam_width=3)
    together = beam_search(Beam(decoder, grid, 6, decoding))
    for i in range(len(grid)):
        alone = beam_search(Beam(decoder, grid[i : i + 1], 6, decoding))
        steps = alone.tokens.shape[2]
        assert alone.tokens[0].tolist() == together.tokens[i, :, :steps].tolist()


@torch.no_grad()
def test_end_bias_moves_the_number_of_labels_and_nothing_else():
    decoder, grid = make_decoder(), make_grid(32)
    numbers = []
    for bias in (-50.0, -1.0, 0.0, 1.0, 50.0):
        decoded, _ = decode(decoder, grid, 6, Decoding(end_bias=bias))
        numbers.append(sum(map(len, emitted_labels(decoded.tokens))))
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert numbers[-1] == 32 * 6
    assert numbers[1] < numbers[3]
    decoded, _ = decode(decoder, grid, 6, Decoding(end_bias=1e-6))
    plain = decoder.rollout(grid, 6, until_end=True)
    torch.testing.assert_close(decoded.logits, plain.logits)  # the model's own, without the bias


@pytest.mark.parametrize("width", [1, 3])
@torch.no_grad()
def test_repeats_are_masked_and_numbers_of_labels_are_kept(width):
    decoder, grid = make_decoder(), make_grid(16)

    def labels_with(**options):
        return emitted_labels(
            decode(decoder, grid, 8, Decoding(beam_width=width, **options))[0].tokens
        )

    assert any(len(set(labels)) < len(labels) for labels in labels_with(end_bias=9.0))
    for labels in labels_with(no_repeat=True, end_bias=9.0):
        assert sorted(labels) == list(range(CLASSES))  # all of them, then only END is left
    for labels in labels_with(no_repeat=True, min_labels=2, max_labels=3):
        assert 2 <= len(labels) <= 3
    assert all(len(set(labels)) <= 1 for labels in labels_with(max_labels=1))
    for labels in labels_with(min_labels=4, end_bias=-50.0):
        assert len(set(labels)) == len(labels) == 4  # repeats do not count


@torch.no_grad()
def test_the_first_score_is_the_probability_at_the_first_emission():
    decoder, grid = make_decoder(), make_grid(16)
    rollout = decoder.rollout(grid, 6, until_end=True)
    scores = read_rollout(rollout.logits, rollout.tokens, "first").scores
    p = rollout.logits.softmax(2)
    for i, labels in enumerate(emitted_labels(rollout.tokens)):
        for c in range(CLASSES):
            expected = float(p[i, labels.index(c), c]) if c in labels else 0
            assert float(scores[i, c]) == pytest.approx(expected)


def test_the_head_decodes_by_its_options():
    torch.manual_seed(0)
    options = dict(num_classes=CLASSES, in_channels=CHANNELS, max_steps=6, decoder=SIZES)
    head = OrderlessRNNHead(**options, decoding=dict(beam_width=3), score="beam").eval()
    feats = (torch.randn(4, CHANNELS, 2, 2),)
    with torch.no_grad():
        samples = head.predict(feats)
        beams = beam_search(Beam(head.decoder, head.pre_logits(feats), 6, head.decoding))
        head.decoding = replace(head.decoding, beam_width=1, end_bias=99.0)
        with pytest.raises(ValueError, match=r"several hypotheses.*beam_width=4"):
            head.predict(feats)
        head.score = "max"
        longest = head.predict(feats)
    for i, sample in enumerate(samples):
        assert sample.sequence.tolist() == emitted_labels(beams.tokens[i, :1])[0]
        torch.testing.assert_close(sample.pred_score, beams.marginals(CLASSES)[i])
    assert all(len(sample.sequence) == 6 for sample in longest)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(beam_width=0), "beam_width must be at least 1"),
        (dict(min_labels=-1), "min_labels must not be negative"),
        (dict(min_labels=3, max_labels=2), "at least min_labels=3, got 2"),
        (dict(max_labels=0), "max_labels must be at least 1"),
        (dict(end_bias=math.nan), "end_bias must be a finite number"),
        (dict(length_penalty=1.0), "set beam_width above 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**options)


def test_more_labels_than_can_be_emitted_are_refused():
    with pytest.raises(ValueError, match=r"min_labels=6, but at most 3 labels.*max_steps=4"):
        OrderlessRNNHead(CLASSES, CHANNELS, 4, decoding=dict(min_labels=6))
    for width in (1, 2):  # the option may also be set later
        with pytest.raises(ValueError, match="min_labels=6, but at most 5 labels"):
            decode(make_decoder(), make_grid(), 9, Decoding(beam_width=width, min_labels=6))
