"""The evaluation equals predictions that are made and counted one by one."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.models.heads import MultiLabelLinearClsHead
from mmpretrain.structures import DataSample

from mmorderless.comparison.evaluation.evaluate import evaluate_sequences, evaluate_thresholds
from mmorderless.comparison.evaluation.gallery import read_gallery_attention
from mmorderless.comparison.evaluation.operating_parameter import (
    OperatingParameter,
    operating_parameter_of,
    override,
)
from mmorderless.comparison.evaluation.predictions import (
    DEFAULT,
    apply_threshold,
    metrics_of,
    predict,
    save_attention,
    save_predictions,
    score_override,
)
from mmorderless.comparison.report.results import label_lists
from mmorderless.labels.label_lists import ragged_labels
from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.metrics.records import Records
from mmorderless.models.heads.decided_head import DecidedHead
from mmorderless.models.heads.known_sets_head import KnownSetsHead
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

NUM_CLASSES, CHANNELS = 4, 6
END_BIAS = OperatingParameter("end_bias", 0.0)
SIZES = dict(hidden_size=8, embed_size=4, attention_size=4)
# The options of each kind of head.
KINDS = {
    "softmax": dict(decoder=SIZES),
    "class_queries": dict(decoder=dict(type="ClassQueryLSTM", hidden_size=8, embed_size=4)),
    "multi_order": dict(
        decoder=dict(type="MultiOrderRNN", **SIZES),
        loss=dict(type="MultiOrderLoss"),
        decoding=dict(stop_threshold=0.5, no_repeat=True),
    ),
    "order_free": dict(
        decoder=dict(type="OrderFreeRNN", hidden_size=8, attention_size=4),
        loss=dict(type="OrderFreeLoss"),
        decoding=dict(path_threshold=0.5, beam_width=2, no_repeat=True),
    ),
}


class Images(torch.utils.data.Dataset):
    """Random feature maps with random labels."""

    def __init__(self, seed, size=12):
        generator = torch.Generator().manual_seed(seed)
        self.maps = torch.randn(size, CHANNELS, 2, 3, generator=generator)
        self.labels = torch.rand(size, NUM_CLASSES, generator=generator) < 0.4

    def __len__(self):
        return len(self.maps)

    def __getitem__(self, i):
        sample = DataSample(metainfo={"img_path": f"{i}.jpg"})
        sample.set_gt_label(self.labels[i].nonzero()[:, 0])
        return {"inputs": self.maps[i], "data_samples": sample}


def loader(seed):
    def collate(items):
        return {
            "inputs": torch.stack([item["inputs"] for item in items]),
            "data_samples": [item["data_samples"] for item in items],
        }

    return torch.utils.data.DataLoader(Images(seed), 5, collate_fn=collate)


class Model:
    """A head whose features are the inputs."""

    def __init__(self, head):
        self.head = head.eval()
        self.batches = 0

    def data_preprocessor(self, batch, training):
        if isinstance(batch["inputs"], list):
            batch = {**batch, "inputs": torch.stack(batch["inputs"])}
        return batch

    def extract_feat(self, inputs):
        self.batches += 1
        pooled = isinstance(self.head, MultiLabelLinearClsHead)
        return (inputs.mean((2, 3)) if pooled else inputs,)


def sequence_head(kind="softmax"):
    torch.manual_seed(1)
    return OrderlessRNNHead(NUM_CLASSES, CHANNELS, max_steps=5, **KINDS[kind])


def scored_directly(head, seed):
    """Scores of the head's predictions with its current settings; None for NaN."""
    data = Images(seed)
    with torch.no_grad():
        samples = head.predict(Model(head).extract_feat(data.maps))
    labels = [data[i]["data_samples"].gt_label for i in range(len(data))]
    metric = LabelSetMetric()
    metric.process(None, [{**s.to_dict(), "gt_label": t} for s, t in zip(samples, labels)])
    scores = metric.compute_metrics(metric.results)
    return {name: None if np.isnan(value) else value for name, value in scores.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_models_operating_point_equals_brute_force(kind):
    head = sequence_head(kind)
    parameter = operating_parameter_of(head)
    assert (parameter.name, parameter.default) == ("end_bias", 0)

    model = Model(head)
    result, points, paths = evaluate_sequences(model, loader(0), loader(1), parameter, NUM_CLASSES)
    assert operating_parameter_of(head) == parameter  # unchanged
    ends = {result["operating_curve"][k]["value"] for k in (0, -1)}
    more = round((max(ends) - 3 + -2 - min(ends)) * 4)  # four more at an end of the grid
    assert model.batches == (2 + more // 4) * 3  # features once per image
    assert paths == [f"{i}.jpg" for i in range(12)]
    assert result["default"] == pytest.approx(scored_directly(head, 1))
    scored = {point: metrics_of(records, NUM_CLASSES) for point, records in points.items()}
    tuned = {score: found["metrics"] for score, found in result["tuned"].items()}
    assert scored == {DEFAULT: result["default"], **tuned}
    assert result["no_repeat"] == (kind != "softmax")
    for score in ("CF1", "OF1"):
        best = None
        for value in sorted((point["value"] for point in result["operating_curve"]), key=abs):
            for name, attribute in override(head, value).items():
                setattr(head, name, attribute)
            held_out = scored_directly(head, 0)[score]
            if best is None or held_out > best[0]:
                best = held_out, value, scored_directly(head, 1)
        assert result["tuned"][score]["value"] == best[1]
        assert result["tuned"][score]["metrics"] == pytest.approx(best[2])
        for name, attribute in override(head, 0.0).items():
            setattr(head, name, attribute)


def known_sets_head():
    torch.manual_seed(1)
    head = KnownSetsHead(NUM_CLASSES, CHANNELS, theta=0.35)
    label_sets = [row.nonzero()[:, 0].tolist() for row in Images(2).labels]
    head.set_label_sets("abcd", label_sets)
    return head


def test_theta_of_known_sets_equals_brute_force(tmp_path):
    head = known_sets_head()
    parameter = operating_parameter_of(head)
    assert parameter == OperatingParameter("theta", 0.35)
    model = Model(head)
    result, points, _ = evaluate_sequences(model, loader(0), loader(1), parameter, NUM_CLASSES)
    assert head.theta == 0.35
    assert model.batches == 2 * 3  # features once per image
    values = [point["value"] for point in result["operating_curve"]]
    assert values == sorted({0.35, *(step / 20 for step in range(2, 19))})
    assert (result["operating_parameter"], result["no_repeat"]) == ("theta", True)
    assert result["default"] == pytest.approx(scored_directly(head, 1))
    assert result["default"]["duplicates"] == 0
    scored = {point: metrics_of(records, NUM_CLASSES) for point, records in points.items()}
    tuned = {score: found["metrics"] for score, found in result["tuned"].items()}
    assert scored == {DEFAULT: result["default"], **tuned}
    for score in ("CF1", "OF1"):
        tried = {}
        for head.theta in sorted(values, key=lambda value: (abs(value - 0.35), value)):
            tried[head.theta] = scored_directly(head, 0)[score]
        head.theta = max(tried, key=tried.get)
        assert result["tuned"][score]["value"] == head.theta
        assert result["tuned"][score]["metrics"] == pytest.approx(scored_directly(head, 1))
    save_attention(model, loader(1), np.array([3]), tmp_path)
    [sample] = head.predict((Images(1).maps[[3]],))
    [maps] = read_gallery_attention(tmp_path).values()
    assert maps.sequence == sample.sequence.tolist() == sample.pred_label.tolist()
    assert maps.maps.shape == (len(maps.sequence), 2, 3)


def test_each_kind_of_score_has_its_mean_average_precision():
    head = sequence_head()
    result, _, _ = evaluate_sequences(Model(head), loader(0), loader(1), END_BIAS, NUM_CLASSES)
    assert (head.score, head.decoding.beam_width) == ("max", 1)
    by_score = result["mAP_by_score"]
    assert by_score["max"] == result["default"]["mAP"]
    head.score = "first"
    assert by_score["first"] == pytest.approx(scored_directly(head, 1)["mAP"])
    head.score, head.decoding = "beam", dataclasses.replace(head.decoding, beam_width=4)
    assert by_score["beam"] == pytest.approx(scored_directly(head, 1)["mAP"])


@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_on_a_sequence_models_scores(kind):
    head = sequence_head(kind)
    model = Model(head)
    result, _, _ = evaluate_sequences(model, loader(0), loader(1), END_BIAS, NUM_CLASSES)
    kinds = ["max"] if head.decoding.has_sigmoids else ["max", "first", "beam"]
    kinds += ["own"] if kind == "class_queries" else []
    assert sorted(result["threshold_by_score"]) == sorted(result["mAP_by_score"]) == sorted(kinds)
    for name, tuned in result["threshold_by_score"].items():
        attributes = {} if name == head.score else score_override(head, name)
        held_out, test = (predict(model, loader(i), {"": attributes})[0][""] for i in (0, 1))
        expected = evaluate_thresholds(held_out, test, NUM_CLASSES, 0.5)["tuned"]
        assert tuned == expected


def test_a_threshold_equals_that_of_the_head_itself():
    torch.manual_seed(1)
    head = MultiLabelLinearClsHead(NUM_CLASSES, CHANNELS)
    with torch.no_grad():
        head.fc.bias += torch.tensor([-1.0, -0.5, 0.0, 0.5])
    model = Model(head)
    assert operating_parameter_of(head) == OperatingParameter("threshold", 0.5)
    held_out, test = (predict(model, loader(seed), {"": {}})[0][""] for seed in (0, 1))
    result = evaluate_thresholds(held_out, test, NUM_CLASSES, 0.5)

    assert result["default"] == pytest.approx(scored_directly(head, 1))
    at_default = scored_directly(head, 0)
    for score, tuned in result["tuned"].items():
        head.thr = tuned["value"]
        assert tuned["metrics"] == pytest.approx(scored_directly(head, 1))
        best = max(point[score] for point in result["operating_curve"])
        assert scored_directly(head, 0)[score] == pytest.approx(best)
        assert best >= at_default[score]
    assert apply_threshold(test, 0.0).predicted.length.tolist() == [NUM_CLASSES] * 12


@pytest.mark.parametrize("rule", ["count", "topk"])
def test_a_rule_of_the_heads_own_is_the_default_and_thresholds_are_tuned(rule):
    torch.manual_seed(1)
    if rule == "count":
        decision, loss = dict(type="CountDecision"), dict(type="LSEPLoss")
        head = DecidedHead(NUM_CLASSES, CHANNELS, decision, loss)
    else:
        head = MultiLabelLinearClsHead(NUM_CLASSES, CHANNELS, topk=2)
    parameter = operating_parameter_of(head)
    assert parameter == OperatingParameter("threshold", None)
    held_out, test = (predict(Model(head), loader(i), {"": {}})[0][""] for i in (0, 1))
    result = evaluate_thresholds(held_out, test, NUM_CLASSES, parameter.default)
    assert result["operating_default"] is None
    assert result["default"] == pytest.approx(scored_directly(head, 1))
    at_half = metrics_of(apply_threshold(test, 0.5), NUM_CLASSES)
    assert result["default"] != at_half  # the rule, and not the threshold 0.5
    by_threshold = evaluate_thresholds(held_out, test, NUM_CLASSES, 0.5)
    assert result["operating_curve"] == by_threshold["operating_curve"]
    assert result["tuned"] == by_threshold["tuned"]


def test_thresholds_are_chosen_for_scores_of_any_scale():
    """A common shift of the logits, which a ranking loss cannot see, costs nothing."""
    rng = np.random.default_rng(0)
    truth = rng.random((60, NUM_CLASSES)) < 0.3
    logits = 3 * truth + rng.normal(size=truth.shape)
    labels = ragged_labels([row.nonzero()[0] for row in truth])
    best = []
    for shift in (-10.0, 0.0, 8.0):
        scores = 1 / (1 + np.exp(-logits - shift))
        records = Records(labels, labels, scores, sequence=None, ignored=None)
        tuned = evaluate_thresholds(records, records, NUM_CLASSES, 0.5)["tuned"]
        best.append(tuned["OF1"]["metrics"]["OF1"])
    assert min(best) == pytest.approx(max(best), abs=1)


def test_saved_predictions_are_read_per_image(tmp_path):
    model = Model(sequence_head())
    at_once = override(model.head, -50.0)  # END
    predicted, paths = predict(model, loader(1), {DEFAULT: {}, "OF1": at_once})
    file = tmp_path / "predictions.npz"
    save_predictions(file, predicted, paths, "abcd", {"consonants": [1, 2, 3]})
    data = Images(1)
    with torch.no_grad():
        samples = model.head.predict((data.maps,))
    with np.load(file) as arrays:
        for name, field in (("predicted", "pred_label"), ("sequence", "sequence")):
            lists = [labels.tolist() for labels in label_lists(arrays, name)]
            assert lists == [sample.get(field).tolist() for sample in samples]
            assert sum(map(len, lists)) > 0
        assert arrays["predicted_OF1_length"].tolist() == [0] * 12
        truth = [labels.tolist() for labels in label_lists(arrays, "truth")]
        assert truth == [row.nonzero()[:, 0].tolist() for row in data.labels]
        scores = torch.stack([sample.pred_score for sample in samples]).numpy()
        np.testing.assert_allclose(arrays["scores"], scores, atol=1e-3)
        assert arrays["scores"].dtype == np.float16
        assert arrays["img_path"].tolist() == paths
        assert "".join(arrays["classes"]) == "abcd"
        assert arrays["groups"].tolist() == ["", *["consonants"] * 3]


def test_attention_of_the_gallery_photos_is_saved(tmp_path):
    model = Model(sequence_head())
    images = np.array([7, 2])
    save_attention(model, loader(1), images, tmp_path)
    maps = read_gallery_attention(tmp_path)
    assert set(maps) == {7, 2}
    assert not model.head.return_attention
    with torch.no_grad():
        for i in images:
            [sample] = model.head.predict((Images(1).maps[[i]],))
            assert maps[i].sequence == sample.sequence.tolist()
            assert maps[i].maps.shape == (len(sample.sequence), 2, 3)


def test_a_model_without_attention_saves_none(tmp_path):
    head = SimpleNamespace(decoder=SimpleNamespace(attends=False))
    save_attention(SimpleNamespace(head=head), loader(1), np.array([0]), tmp_path)
    assert not list(tmp_path.iterdir())
