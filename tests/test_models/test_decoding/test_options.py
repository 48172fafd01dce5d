"""Decoding of models that score each label by a sigmoid, as the multi-order RNN does."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.options import Decoding

C, D = 6, 8
LOGITS = torch.tensor([0.0, 3.0, -1.0, 1.0, -4.0, 2.0])
FEATS = (torch.randn(3, D, 2, 3, generator=torch.Generator().manual_seed(0)),)


class Constant(LabelDecoder):
    """Every step gives the classes the same logits."""

    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes)
        self.logits = torch.tensor([*LOGITS, 9.0])  # END's logit does not matter

    def init_state(self, grid):
        return ()

    def step(self, token, state):
        return self.logits.expand(len(token), -1), state, None


def make(max_steps=7, score="max", decoder=None, **decoding):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=C,
            in_channels=D,
            max_steps=max_steps,
            decoder=decoder or dict(type=Constant),
            loss=dict(type="MultiOrderLoss"),
            decoding=dict(no_repeat=True, **decoding),
            score=score,
        )
    ).eval()


def labels_of(head):
    return [sample.pred_label.tolist() for sample in head.predict(FEATS)]


@pytest.mark.parametrize(
    "threshold, emitted",
    [
        (1 - 1e-6, []),
        (0.9, [1]),
        (0.7, [1, 5, 3]),
        (0.5, [1, 5, 3, 0]),
        (1e-6, [1, 5, 3, 0, 2, 4]),
    ],
)
@pytest.mark.parametrize("score", ["max", "first"])
def test_labels_are_emitted_while_the_best_ones_probability_reaches_the_threshold(
    threshold, emitted, score
):
    head = make(stop_threshold=threshold, score=score)
    scores = LOGITS.sigmoid()
    if score == "first":
        scores[[c for c in range(C) if c not in emitted]] = 0
    for sample in head.predict(FEATS):
        assert sample.sequence.tolist() == sample.pred_label.tolist() == emitted
        assert sample.pred_label.dtype == torch.int64
        torch.testing.assert_close(sample.sequence_score, LOGITS[emitted].sigmoid())
        torch.testing.assert_close(sample.pred_score, scores)


def test_max_steps_bounds_the_labels():
    assert labels_of(make(max_steps=4, stop_threshold=1e-6)) == [[1, 5, 3, 0]] * 3


@pytest.mark.parametrize(
    "options, emitted",
    [(dict(min_labels=5), [1, 5, 3, 0, 2]), (dict(max_labels=2), [1, 5])],
    ids=["min_labels", "max_labels"],
)
def test_the_number_of_labels_can_be_bounded(options, emitted):
    assert labels_of(make(stop_threshold=0.5, **options)) == [emitted] * 3


@pytest.mark.parametrize(
    "bias, emitted",
    [
        (-99.0, []),
        (-2.5, [1]),
        (0.0, [1, 5, 3, 0]),
        (1.5, [1, 5, 3, 0, 2]),
        (99.0, [1, 5, 3, 0, 2, 4]),
    ],
)
def test_end_bias_moves_the_threshold(bias, emitted):
    """It is the operating point, as for a model with a softmax: above 0 more labels."""
    assert labels_of(make(stop_threshold=0.5, end_bias=bias)) == [emitted] * 3


def make_multi_order():
    sizes = dict(hidden_size=16, embed_size=4, attention_size=5, dropout=0.0)
    head = make(decoder=dict(type="MultiOrderRNN", **sizes), stop_threshold=0.5)
    for parameter in head.parameters():
        parameter.data.mul_(3)  # so that images have different numbers of labels
    return head


def test_scores_are_the_largest_sigmoids_up_to_the_step_that_stopped():
    head = make_multi_order()
    head.return_attention = True
    rollouts, rollout = [], head.decoder.rollout
    head.decoder.rollout = lambda *args, **options: (
        rollouts.append(rollout(*args, **options)) or rollouts[-1]
    )
    predicted = head.predict(FEATS)
    assert len({len(sample.sequence) for sample in predicted}) > 1
    p = rollouts[0].logits[:, :, :C].sigmoid()
    for sample, row in zip(predicted, p):
        n = len(sample.sequence)
        torch.testing.assert_close(sample.pred_score, row[: n + 1].amax(0))
        torch.testing.assert_close(sample.sequence_score, row[range(n), sample.sequence])
        assert sample.attention.shape == (n, 2, 3)


def test_a_batch_equals_its_images_one_by_one():
    head = make_multi_order()
    for i, sample in enumerate(head.predict(FEATS)):
        (alone,) = head.predict((FEATS[0][i : i + 1],))
        assert torch.equal(alone.sequence, sample.sequence)
        torch.testing.assert_close(alone.pred_score, sample.pred_score)
        torch.testing.assert_close(alone.sequence_score, sample.sequence_score)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, float("nan")])
def test_the_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match=f"stop_threshold must be .* got {threshold}"):
        Decoding(stop_threshold=threshold)


def test_there_is_no_beam_search_with_a_threshold_on_each_label():
    with pytest.raises(ValueError, match=r"stop_threshold=0.5 .* beam_width=4.*path_threshold"):
        Decoding(stop_threshold=0.5, beam_width=4)


@pytest.mark.parametrize("name", ["path_threshold", "beam_width", "no_repeat"])
def test_a_word_is_no_option(name):
    with pytest.raises(ValueError, match=f"{name} must be a number, True or False, got 'on'"):
        Decoding(**{name: "on"})
