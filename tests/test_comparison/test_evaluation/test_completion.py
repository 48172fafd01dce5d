"""Completion of label sets, against predictions that are made and counted one by one."""

import os
from dataclasses import asdict

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.comparison.evaluation.completion import (
    COMPLETION,
    Settings,
    Truth,
    complete,
    known_share,
    read_completion,
)
from mmorderless.metrics.ranking import average_precision
from mmorderless.models.heads.known_labels import set_known_labels
from mmorderless.runs.records import write_json

C, D, NUM = 6, 5, 16
SETTINGS = Settings(min_labels=3, given=(0, 1, 2), shares=(0, 50), seed=3)


class Images(torch.utils.data.Dataset):
    """Random feature maps with random labels; the last class of even images is not judged."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.maps = torch.randn(NUM, D, 2, 3, generator=generator)
        self.labels = torch.rand(NUM, C, generator=generator) < 0.5
        self.labels[::2, -1] = False

    def __len__(self):
        return NUM

    def __getitem__(self, i):
        sample = DataSample().set_gt_label(self.labels[i].nonzero()[:, 0])
        ignored = [C - 1] if i % 2 == 0 else []
        sample.set_field(torch.tensor(ignored, dtype=torch.int64), "gt_ignore")
        return {"inputs": self.maps[i], "data_samples": sample}


def loader(batch_size):
    def collate(items):
        return {
            "inputs": torch.stack([item["inputs"] for item in items]),
            "data_samples": [item["data_samples"] for item in items],
        }

    return torch.utils.data.DataLoader(Images(), batch_size, collate_fn=collate)


class Model:
    """A head whose features are the inputs."""

    def __init__(self, head):
        self.head, self.batches = head.eval(), 0

    def data_preprocessor(self, batch, training):
        return batch

    def extract_feat(self, inputs):
        self.batches += 1
        linear = type(self.head).__name__ == "MultiLabelLinearClsHead"
        return (inputs.mean((2, 3)) if linear else inputs,)


HEADS = {
    "sequence": dict(
        type="OrderlessRNNHead",
        max_steps=7,
        decoder=dict(hidden_size=8, embed_size=4, attention_size=4),
        decoding=dict(end_bias=0.5),
    ),
    "ctran": dict(type="CTranHead", embed_size=4, num_layers=1, num_heads=2),
    "bce": dict(type="MultiLabelLinearClsHead"),
    "known sets": dict(type="KnownSetsHead"),
}


def model_of(kind):
    torch.manual_seed(1)
    model = Model(MODELS.build(dict(num_classes=C, in_channels=D, **HEADS[kind])))
    for parameter in model.head.parameters():
        parameter.data.mul_(4)
    if kind == "known sets":
        model.head.set_label_sets("abcdef"[:C], [[0, 2], [1], [1, 3], [0, 2, 4], [0, 2]])
    return model


def truth_of(i):
    item = Images()[i]["data_samples"]
    return Truth.draw(i, item.gt_label.tolist(), item.gt_ignore.tolist(), C, SETTINGS.seed)


@torch.no_grad()
def predict(model, i, given=(), excluded=()):
    """Labels and scores of one image, of the classes that are not known."""
    sample = set_known_labels(DataSample(), given, excluded)
    model.head.predict(model.extract_feat(Images().maps[i : i + 1]), [sample])
    known = {*given, *excluded}
    labels = {*sample.pred_label.tolist()} - known
    return labels, {c: float(sample.pred_score[c]) for c in range(C) if c not in known}


def by_hand(model, known_of, images):
    """O-F1 and mAP of what `known_of` leaves open."""
    hits = total = 0
    scores = [([], []) for _ in range(C)]
    for i in images:
        truth = truth_of(i)
        labels, score = predict(model, i, *known_of(i, truth))
        true = {*truth.labels} & {*score}
        hits, total = hits + len(labels & true), total + len(labels) + len(true)
        for c in {*score} - {*truth.ignored}:
            scores[c][0].append(score[c])
            scores[c][1].append(c in true)
    found = [average_precision(np.array(s), np.array(t)) for s, t in scores if any(t)]
    return {"OF1": 200 * hits / total, "mAP": 100 * np.mean(found)}


@pytest.mark.parametrize("kind", HEADS)
def test_metrics_are_those_of_single_predictions(kind):
    model = model_of(kind)
    found = complete(model, loader(5), C, SETTINGS)
    assert model.batches == 4  # features once
    images = [i for i in range(NUM) if len(truth_of(i).labels) >= 3]
    assert (found["num_images"], found["num_completed"]) == (NUM, len(images))
    assert 3 < len(images) < NUM

    def given(k):
        return lambda i, truth: (truth.labels[:k], [])

    def struck(k):
        def known(i, truth):
            wrong = predict(model, i)[0] - {*truth.labels, *truth.ignored}
            return truth.labels[:k], sorted(wrong)

        return known

    for k in (0, 1, 2):
        for protocol, known in (("given", given(k)), ("struck", struck(k))):
            expected = by_hand(model, known, images)
            assert found[protocol][str(k)] == pytest.approx(expected, abs=1e-3), (protocol, k)
    for share in (0, 50):
        expected = by_hand(model, lambda i, t, share=share: known_share(t, share), range(NUM))
        assert found["shares"][str(share)] == pytest.approx(expected, abs=1e-3)
    again = complete(model, loader(3), C, SETTINGS)  # the draws do not depend on the batches
    for protocol in ("given", "struck", "shares"):
        for value, metrics in found[protocol].items():
            assert again[protocol][value] == pytest.approx(metrics, abs=1e-3)


def test_known_shares_grow_and_leave_out_what_is_not_judged():
    for i in range(NUM):
        truth = truth_of(i)
        for share, number in ((0, 0), (25, 2), (50, 3), (75, 4)):  # of six classes
            given, excluded = known_share(truth, share)
            assert {*given} <= {*truth.labels}
            assert not {*excluded} & {*truth.labels}
            assert {*given, *excluded} == {*truth.classes[:number]} - {*truth.ignored}
    assert sorted(truth_of(1).labels) == Images()[1]["data_samples"].gt_label.tolist()
    orders = [truth_of(i).classes for i in range(NUM)]
    assert len({*map(tuple, orders)}) > 10


def test_a_share_that_does_not_fit_into_a_sequence_is_cut_and_too_many_labels_are_an_error():
    model = model_of("sequence")
    model.head.max_steps = 2
    found = complete(model, loader(5), C, Settings(3, (0, 1), (75,)))
    assert found["shares"]["75"]["mAP"] is not None
    with pytest.raises(ValueError, match="has 2 given labels, but at most 1 can be emitted"):
        complete(model, loader(5), C, Settings(3, (0, 2), (0,)))


def test_settings_that_do_not_fit_are_one_line_errors():
    with pytest.raises(ValueError, match=r"--given 0 4 must be from 0 to .* --min-labels 4"):
        Settings(given=(0, 4))
    with pytest.raises(ValueError, match="--shares 0 100 must be at least 0 and below 100"):
        Settings(shares=(0, 100))
    with pytest.raises(ValueError, match="--seed must not be negative"):
        Settings(seed=-1)
    with pytest.raises(ValueError, match="no test image has at least 7 labels; give a lower"):
        complete(model_of("bce"), loader(5), C, Settings(min_labels=7))


def test_a_completion_of_other_settings_or_an_older_checkpoint_is_not_read(tmp_path):
    (tmp_path / "epoch_1.pth").touch()
    write_json(tmp_path / COMPLETION, {"settings": asdict(SETTINGS), "checkpoint": "epoch_1.pth"})
    assert read_completion(tmp_path, SETTINGS)["checkpoint"] == "epoch_1.pth"
    assert read_completion(tmp_path, Settings()) is None
    later = (tmp_path / COMPLETION).stat().st_mtime + 5
    os.utime(tmp_path / "epoch_1.pth", (later, later))
    assert read_completion(tmp_path, SETTINGS) is None
    assert read_completion(tmp_path / "gone", SETTINGS) is None
