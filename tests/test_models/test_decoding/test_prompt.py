"""Given and excluded labels in every way of decoding, against steps taken by hand."""

import math
from itertools import permutations, product

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import decode
from mmorderless.models.heads.known_labels import read_prompt

CLASSES, CHANNELS, CELLS = 4, 5, 3
END, START = CLASSES, CLASSES + 1
MAX_STEPS = 5
KNOWN = (  # given, excluded
    ([], []),
    ([2], []),
    ([3, 0], []),
    ([], [0, 1]),
    ([1], [2]),
    ([0, 1, 2, 3], []),  # END or nothing remains
)


def make_decoder(kind="AttentionLSTM", **options):
    torch.manual_seed(0)
    sizes = dict(num_classes=CLASSES, in_channels=CHANNELS, hidden_size=7, attention_size=4)
    decoder = MODELS.build(dict(type=kind, **sizes, **options)).eval()
    for parameter in decoder.parameters():
        parameter.data.mul_(3)  # so that steps and images differ
    return decoder


def make_grid():
    torch.manual_seed(1)
    return torch.randn(len(KNOWN), CELLS, CHANNELS)


def samples_of(known):
    samples = []
    for pair in known:
        sample = DataSample()
        for name, labels in zip(("given", "excluded"), pair):
            sample.set_field(torch.tensor(labels, dtype=torch.int64), name)
        samples.append(sample)
    return samples


def prompt_of(known=KNOWN):
    return read_prompt(samples_of(known), CLASSES, torch.device("cpu"))


@torch.no_grad()
def steps_by_hand(decoder, cells, tokens):
    """Logits of an image at the steps that emit some tokens, shape (number, C + 1)."""
    state, fed, found = decoder.init_state(cells[None]), START, []
    for token in tokens:
        logits, state, _ = decoder.step(torch.tensor([fed]), state)
        found.append(logits[0])
        fed = token
    return torch.stack(found)


def log_p_by_hand(decoder, cells, tokens, given, excluded):
    """Log-probability of a sequence given its first labels, END and allowed labels renormalized."""
    logits = steps_by_hand(decoder, cells, tokens)[len(given) :]
    logits[:, [*given, *excluded]] = -math.inf
    log_p = logits.log_softmax(1)
    return sum(float(row[token]) for row, token in zip(log_p, tokens[len(given) :]))


def continuations(given, excluded, end=END):
    """All sequences with a prompt, up to END or MAX_STEPS, labels after the prompt may repeat."""
    allowed = [c for c in range(CLASSES) if c not in (*given, *excluded)]
    left = MAX_STEPS - len(given)
    for length in range(left):
        yield from ((*given, *labels, end) for labels in product(allowed, repeat=length))
    yield from ((*given, *labels) for labels in product(allowed, repeat=left))


def up_to_end(tokens):
    tokens = tokens.tolist()
    return tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(end_bias=9.0),
        dict(end_bias=-9.0),
        dict(no_repeat=True, end_bias=2.0),
        dict(min_labels=2, end_bias=-9.0),
        dict(max_labels=2, end_bias=9.0),
    ],
)
@pytest.mark.parametrize("width", [1, 3])
def test_each_choice_is_the_best_one_that_is_allowed(options, width):
    """Greedy; of a beam, what is forced, masked and counted."""
    decoder, grid = make_decoder(embed_size=4), make_grid()
    decoding = Decoding(beam_width=width, **options)
    with torch.no_grad():
        rollout, _ = decode(decoder, grid, MAX_STEPS, decoding, True, prompt_of())
    for i, (given, excluded) in enumerate(KNOWN):
        emitted = up_to_end(rollout.tokens[i])
        assert emitted[: len(given)] == tuple(given)
        assert not {*given, *excluded} & {*emitted[len(given) :]}
        logits = steps_by_hand(decoder, grid[i], emitted)
        torch.testing.assert_close(rollout.logits[i, : len(emitted)], logits)  # the model's own
        labels = {token for token in emitted if token != END}
        if len(given) < 2 and "min_labels" in options:
            assert len(labels) == 2
        if "max_labels" in options:
            assert len(labels) <= max(2, len(given))
        for t in range(len(given), len(emitted) if width == 1 else 0):
            before = list(emitted[:t])
            adjusted = decoding.adjust(
                logits[t : t + 1], torch.tensor([[c in before for c in range(CLASSES)]])
            )
            adjusted[:, [*given, *excluded]] = -math.inf
            assert emitted[t] == int(adjusted.argmax())


@pytest.mark.parametrize("open_beam", [False, True])
def test_a_wide_beam_is_an_exhaustive_search_of_what_the_prompt_allows(open_beam):
    decoder, grid = make_decoder(embed_size=4), make_grid()
    width = max(len(list(continuations(*known))) for known in KNOWN)
    decoding = Decoding(beam_width=width, open_beam=open_beam)
    _, beams = decode(decoder, grid, MAX_STEPS, decoding, prompt=prompt_of())
    for i, known in enumerate(KNOWN):
        log_p = {s: log_p_by_hand(decoder, grid[i], s, *known) for s in continuations(*known)}
        assert sum(map(math.exp, log_p.values())) == pytest.approx(1, abs=1e-5)
        ranked = sorted(log_p, key=log_p.get, reverse=True)
        found = beams.log_probability[i].tolist()
        assert found[: len(ranked)] == pytest.approx([log_p[s] for s in ranked], abs=1e-4)
        assert all(p == -math.inf for p in found[len(ranked) :])
        for s, tokens in zip(ranked[:5], beams.tokens[i]):
            assert up_to_end(tokens) == s
        marginals = beams.marginals(CLASSES)[i]
        for c in range(CLASSES):
            expected = sum(math.exp(p) for s, p in log_p.items() if c in s)
            assert float(marginals[c]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("threshold", [0.05, 0.3])
def test_a_wide_path_search_multiplies_the_probabilities_after_the_prompt(threshold):
    decoder, grid = make_decoder("OrderFreeRNN"), make_grid()
    decoding = Decoding(path_threshold=threshold, beam_width=64, no_repeat=True)
    rollout, _ = decode(decoder, grid, MAX_STEPS, decoding, prompt=prompt_of())
    numbers = set()
    for i, (given, excluded) in enumerate(KNOWN):
        rest = [c for c in range(CLASSES) if c not in (*given, *excluded)]
        expected = tuple(given)
        for n in range(1, len(rest) + 1):
            p = {}
            for labels in permutations(rest, n):
                path = (*given, *labels)
                probabilities = steps_by_hand(decoder, grid[i], path).sigmoid()
                p[path] = math.prod(
                    float(row[c]) for row, c in list(zip(probabilities, path))[len(given) :]
                )
            best = max(p, key=p.get)
            if p[best] < threshold:
                break
            expected = best
        assert tuple(c for c in up_to_end(rollout.tokens[i]) if c != END) == expected
        numbers.add(len(expected) - len(given))
    assert len(numbers) > 1


def test_a_threshold_on_each_probability_acts_after_the_prompt():
    decoder, grid = make_decoder("MultiOrderRNN", embed_size=4), make_grid()
    decoding = Decoding(stop_threshold=0.6, no_repeat=True)
    with torch.no_grad():
        rollout, _ = decode(decoder, grid, MAX_STEPS, decoding, prompt=prompt_of())
    for i, (given, excluded) in enumerate(KNOWN):
        emitted = up_to_end(rollout.tokens[i])
        assert emitted[: len(given)] == tuple(given)
        probabilities = steps_by_hand(decoder, grid[i], emitted).sigmoid()
        for t in range(len(given), len(emitted)):
            left = [c for c in range(CLASSES) if c not in (*emitted[:t], *excluded)]
            best = max(left, key=lambda c: float(probabilities[t, c]), default=END)
            stops = not left or probabilities[t, best] < 0.6
            assert emitted[t] == (END if stops else best)


def make_head(**options):
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=CLASSES,
            in_channels=CHANNELS,
            max_steps=MAX_STEPS,
            decoder=dict(type="AttentionLSTM", hidden_size=7, attention_size=4, embed_size=4),
            **options,
        )
    ).eval()
    for parameter in head.decoder.parameters():
        parameter.data.mul_(3)
    return head


@pytest.mark.parametrize("score", ["max", "first", "beam"])
@torch.no_grad()
def test_a_head_scores_by_the_steps_after_the_prompt(score):
    decoding = dict(beam_width=3) if score == "beam" else {}
    head = make_head(score=score, decoding=decoding, return_attention=True)
    feats = (torch.randn(len(KNOWN), CHANNELS, 2, 2),)
    samples = samples_of(KNOWN)
    assert head.predict(feats, samples) is not None
    grid = head.pre_logits(feats)
    for sample, cells, (given, excluded) in zip(samples, grid, KNOWN):
        sequence = sample.sequence.tolist()
        n = len(given)
        assert sequence[:n] == given
        assert sample.pred_label.tolist() == list(dict.fromkeys(sequence))
        assert len(sample.attention) == len(sequence)
        steps = steps_by_hand(head.decoder, cells, [*sequence, END][:MAX_STEPS]).softmax(1)
        own = [float(row[c]) for row, c in zip(steps, sequence)]
        assert sample.sequence_score.tolist() == pytest.approx(own, abs=1e-5)
        for c in range(CLASSES):
            found = float(sample.pred_score[c])
            if c in given or c in excluded:
                assert found == (c in given)
            elif score == "max":
                assert found == pytest.approx(float(steps[n:, c].max()), abs=1e-5)
            elif score == "first":
                expected = own[sequence.index(c)] if c in sequence else 0
                assert found == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_known_labels_of_one_image_leave_the_others_alone():
    head, feats = make_head(), (torch.randn(3, CHANNELS, 2, 2),)
    plain = head.predict(feats)
    mixed = head.predict(feats, [None, *samples_of([([1], [0]), ([], [])])])
    for i in (0, 2):
        assert torch.equal(mixed[i].sequence, plain[i].sequence)
        torch.testing.assert_close(mixed[i].pred_score, plain[i].pred_score)
    assert mixed[1].sequence[0] == 1
    unknown = head.predict(feats, samples_of([([], [])] * 3))
    assert all(torch.equal(a.pred_score, b.pred_score) for a, b in zip(plain, unknown))


def test_more_labels_than_steps_are_an_error():
    head, feats = make_head(), (torch.randn(2, CHANNELS, 2, 2),)
    head.max_steps = 3
    with pytest.raises(ValueError, match=r"image 1 of the batch has 3 given labels, .* most 2 can"):
        head.predict(feats, samples_of([([0, 1], []), ([0, 1, 2], [])]))
    head.decoding = Decoding(min_labels=2)
    with pytest.raises(ValueError, match=r"min_labels=2, but only 1 classes are not excluded"):
        head.predict(feats, samples_of([([], []), ([], [0, 1, 2])]))
