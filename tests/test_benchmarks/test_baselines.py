"""The plain baselines give the same results as the package, so that only their speed differs."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.alignment import check_same_cost, cost_matrices, make_batch
from benchmarks.batches import force_end_of_all_after
from benchmarks.decoder import QUICK, DecoderBatch, check_prediction, check_training
from benchmarks.label_counts import label_counts
from benchmarks.metrics import check_scores, processed, random_predictions
from benchmarks.plain_alignment import plain_targets
from benchmarks.plain_emission import plain_predictions
from benchmarks.plain_metrics import average_precision, plain_scores
from benchmarks.predict import check_predictions
from benchmarks.settings import Settings
from benchmarks.train_step import plain_loss
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.alignment.targets import min_loss_targets, predicted_label_targets
from mmorderless.models.decoding.emission import read_rollout
from mmorderless.models.heads.data_samples import write_samples

SETTINGS = Settings(torch.device("cpu"))


@pytest.mark.parametrize("num_classes", [20, 80])  # with few classes, many predictions are right
def test_alignment(num_classes):
    logits, labels = make_batch(SETTINGS, [0, *label_counts(64)], num_classes)
    ours, plain = min_loss_targets(logits, labels), plain_targets(logits, labels, False)
    check_same_cost(logits, ours, plain)
    ours, plain = predicted_label_targets(logits, labels), plain_targets(logits, labels, True)
    assert torch.equal(ours, plain)
    swapped = ours.clone()
    longest = max(range(len(labels)), key=lambda i: len(labels[i]))
    swapped[longest, :2] = ours[longest, [1, 0]]
    with pytest.raises(AssertionError):
        check_same_cost(logits, swapped, plain)


def test_cost_matrices_equal_the_cross_entropy():
    logits, labels = make_batch(SETTINGS, [3, 1], 20)
    matrices = cost_matrices(logits, labels)
    assert [matrix.shape for matrix in matrices] == [(3, 3), (1, 1)]
    expected = -logits[0, 2].log_softmax(0)[labels[0][1]]
    assert matrices[0][2, 1] == pytest.approx(float(expected), rel=1e-5)


def test_decoder_logits_and_gradients():
    check_training(replace(QUICK, batch=16), label_counts(16), SETTINGS)


def test_a_wrong_gradient_is_noticed(monkeypatch):
    train = DecoderBatch.train_ours

    def altered(batch):
        logits = train(batch)
        batch.features.grad *= 1.01
        return logits

    monkeypatch.setattr(DecoderBatch, "train_ours", altered)
    with pytest.raises(AssertionError, match="features"):
        check_training(QUICK, label_counts(QUICK.batch), SETTINGS)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_images_end_after_their_number_of_labels(dtype):
    counts = [0, 1, 18, 5, 3]
    settings = replace(SETTINGS, dtype=dtype)
    check_prediction(DecoderBatch(QUICK, counts, settings).for_prediction())
    with pytest.raises(AssertionError):  # END is not forced
        check_prediction(DecoderBatch(QUICK, counts, settings))


def test_all_images_end_after_the_same_number_of_labels():
    batch = DecoderBatch(QUICK, [0] * 6, SETTINGS)
    force_end_of_all_after(batch.decoder.eval(), 3)
    tokens = batch.predict_ours()
    assert tokens.shape == (6, 4)
    assert ((tokens == QUICK.classes) == torch.tensor([False] * 3 + [True])).all()


def test_predictions_of_a_rollout():
    logits = torch.randn(30, 6, 4)
    tokens = logits.argmax(2)
    ours = write_samples(read_rollout(logits, tokens), None, None)
    check_predictions(ours, plain_predictions(logits, tokens))


def test_scores_of_the_metric():
    samples = random_predictions(150, 20)
    metric = processed(samples, 20)
    fields = ("pred_label", "gt_label", "sequence")
    lists = [[sample[field].tolist() for sample in samples] for field in fields]
    scores = np.stack([sample["pred_score"].numpy() for sample in samples]).round(1)  # ties
    for sample, score in zip(samples, scores):
        sample["pred_score"] = torch.from_numpy(score)
    metric = processed(samples, 20)
    ours = metric.compute_metrics(metric.results)
    baseline = plain_scores(*lists, scores)
    check_scores(ours, baseline)
    with pytest.raises(AssertionError, match="mAP"):
        check_scores({**ours, "mAP": 0.0}, baseline)


def test_average_precision_by_hand():
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    is_true = np.array([True, False, True, True])
    # At 0.9: 1 of 1; at 0.5, where two tie: 2 of 3; at 0.1: 3 of 4.
    assert average_precision(scores, is_true) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_loss_of_a_training_step():
    head = MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=20,
            in_channels=16,
            max_steps=20,
            decoder=dict(dropout=0.0),
        )
    )
    labels = [torch.tensor([1, 4]), torch.tensor([7])]
    samples = [DataSample().set_gt_label(label_set) for label_set in labels]
    features = torch.randn(2, 16, 3, 3)
    baseline = copy.deepcopy(head)
    loss = head.loss((features,), samples)["loss"]
    expected = plain_loss(baseline, (features,), samples)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for ours, plain in zip(head.parameters(), baseline.parameters()):
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-3, atol=1e-5)
