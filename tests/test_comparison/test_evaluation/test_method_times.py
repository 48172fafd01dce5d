from types import SimpleNamespace

import pytest
import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample

import mmorderless  # noqa: F401 - registers the heads
from mmorderless.comparison.evaluation.method_times import medians, time_test, time_training
from mmorderless.runs import machine as clock

CPU = torch.device("cpu")
RNN = dict(
    type="OrderlessRNNHead",
    num_classes=4,
    in_channels=16,
    max_steps=5,
    decoder=dict(hidden_size=8, embed_size=4, attention_size=4),
)
BCE = dict(type="MultiLabelLinearClsHead", num_classes=4, in_channels=16)


def build(head, neck=None):
    backbone = dict(type="mmpretrain.StridedCNN", channels=(8, 16))
    return ImageClassifier(backbone=backbone, neck=neck, head=head)


def batch():
    labels = [[0, 2], [1], []]
    samples = [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in labels]
    return {"inputs": torch.randn(3, 3, 16, 16), "data_samples": samples}


def test_timing_does_not_change_the_model():
    model, data = build(RNN).train(), batch()
    align = model.head.loss_module.align
    times = time_training(model, data, CPU)
    assert set(times) == {"training", "forward", "alignment", "backward"}
    assert all(value > 0 for value in times.values())
    assert model.head.loss_module.align == align
    assert all(parameter.grad is not None for parameter in model.head.decoder.parameters())
    assert time_test(model.eval(), data, CPU)["test"] > 0


def test_alignment_is_timed_separately(monkeypatch):
    """A clock that advances only during alignment and the sum of the losses."""
    now = 0.0
    model = build(RNN).train()
    align, loss = model.head.loss_module.align, model.loss

    def slow(call, seconds):
        def called(*args):
            nonlocal now
            now += seconds
            return call(*args)

        return called

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(model.head.loss_module, "align", slow(align, 0.05))
    monkeypatch.setattr(model, "loss", slow(loss, 0.02))
    times = time_training(model, batch(), CPU)
    expected = {"training": 70, "forward": 20, "alignment": 50, "backward": 0}
    assert times == pytest.approx(expected)


def test_a_method_without_alignment_has_no_alignment_time():
    model = build(BCE, neck=dict(type="GlobalAveragePooling")).train()
    assert set(time_training(model, batch(), CPU)) == {"training", "forward", "backward"}
    search = {**RNN, "loss": dict(type="mmpretrain.OrderSearchLoss")}
    assert "alignment" not in time_training(build(search).train(), batch(), CPU)


def test_the_median_excludes_the_warm_up():
    samples = iter([100.0, 100.0, *range(1, 21)])
    assert medians(lambda: {"test": next(samples)}) == {"test": 10.5}
