"""Known labels of data samples, and heads that take them."""

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.heads.known_labels import (
    mask_known_labels,
    read_known_labels,
    read_prompt,
)

CPU = torch.device("cpu")


def sample(**known):
    made = DataSample()
    for name, labels in known.items():
        made.set_field(torch.tensor(labels, dtype=torch.int64), name)
    return made


def test_known_labels_are_read_from_the_samples():
    known = read_known_labels([sample(given=[2, 0]), None, sample(excluded=[1])], 3, CPU)
    assert known.given.tolist() == [[True, False, True], [False] * 3, [False] * 3]
    assert known.excluded.tolist() == [[False] * 3, [False] * 3, [False, True, False]]


def test_without_known_labels_there_is_nothing():
    for samples in (None, [], [None], [DataSample(), sample(given=[])]):
        assert read_known_labels(samples, 3, CPU) is None


def test_a_prompt_has_the_given_labels_in_their_order():
    prompt = read_prompt([sample(given=[2, 0]), None, sample(given=[1], excluded=[0])], 3, CPU)
    assert prompt.tokens.tolist() == [[2, 0], [3, 3], [1, 3]]
    assert prompt.num_given.tolist() == [2, 0, 1]
    assert prompt.excluded.int().tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_known_labels_replace_what_a_head_predicts_of_them():
    samples = [sample(given=[3, 1], excluded=[0]), sample()]
    scores = torch.tensor([0.9, 0.2, 0.8, 0.6])
    for made in samples:
        made.set_pred_score(scores).set_pred_label([0, 2, 3])
    for _ in range(2):  # again without an effect
        known, unknown = mask_known_labels(samples)
        assert known.pred_label.tolist() == [3, 1, 2]
        assert torch.equal(known.pred_score, torch.tensor([0.0, 1.0, 0.8, 1.0]))
        assert unknown.pred_label.tolist() == [0, 2, 3]
    assert torch.equal(unknown.pred_score, scores)  # which is not shared with the first
    assert known.pred_label.dtype == torch.int64


def test_class_queries_show_where_given_labels_are_seen():
    torch.manual_seed(0)
    head = MODELS.build(
        dict(type="ClassQueryHead", num_classes=5, in_channels=6, return_attention=True)
    ).eval()
    [known] = head.predict((torch.randn(1, 6, 2, 3),), [sample(given=[4], excluded=[0, 1])])
    assert known.pred_label[0] == 4
    assert known.attention.shape == (len(known.pred_label), 2, 3)
