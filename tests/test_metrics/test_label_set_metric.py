import json
import tracemalloc

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.evaluation import MultiLabelMetric
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

from mmorderless.labels.label_lists import label_matrix
from mmorderless.metrics import label_set_metric, set_scores
from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.metrics.per_class import class_table
from mmorderless.metrics.ranking import mean_average_precision

NUM_CLASSES = 5


def make_samples(number, with_sequence=True, seed=0):
    """Predictions of the orderless head, or of a BCE head, with empty sets among them."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(number):
        sequence = rng.integers(NUM_CLASSES, size=i % 5)
        sample = DataSample()
        sample.set_gt_label(torch.tensor(np.flatnonzero(rng.random(NUM_CLASSES) < 0.4)))
        sample.set_pred_score(torch.tensor(rng.random(NUM_CLASSES), dtype=torch.float32))
        sample.set_pred_label(torch.tensor(list(dict.fromkeys(sequence)), dtype=torch.long))
        if with_sequence:
            sample.set_field(torch.tensor(sequence), "sequence")
        samples.append(sample)
    return samples


def evaluate(samples, batch_size=4, **settings):
    evaluator = Evaluator([METRICS.build({"type": "LabelSetMetric", **settings})])
    for i in range(0, len(samples), batch_size):
        evaluator.process(samples[i : i + batch_size])
    return evaluator.evaluate(len(samples))


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(label_set_metric, "print_log", lambda line, **_: lines.append(line))
    return lines


def test_metric_equals_the_pure_functions():
    samples = make_samples(30)
    results = evaluate(samples)
    truth = label_matrix([s.gt_label.tolist() for s in samples], NUM_CLASSES)
    predicted = label_matrix([s.pred_label.tolist() for s in samples], NUM_CLASSES)
    scores = np.stack([s.pred_score.numpy() for s in samples])
    expected = {
        **set_scores.class_scores(predicted, truth),
        **set_scores.overall_scores(predicted, truth),
        "per_class_F1_mean": set_scores.per_class_f1_mean(predicted, truth),
        **set_scores.example_scores(predicted, truth),
        **set_scores.label_count_errors(predicted, truth),
        **set_scores.sequence_scores([s.sequence.tolist() for s in samples], NUM_CLASSES),
        "exact_match": set_scores.exact_match(predicted, truth),
        "mA": set_scores.mean_accuracy(predicted, truth)[0],
        "mAP": mean_average_precision(scores, truth)[0],
        "mAP_all_classes": mean_average_precision(scores, truth)[0],
    }
    assert results == {f"set/{name}": value for name, value in expected.items()}
    assert results["set/duplicates"] > 0


def test_metric_reads_the_emitted_set_not_the_thresholded_scores():
    # The scores alone would choose class 1; the model emitted class 0.
    sample = DataSample().set_gt_label([0]).set_pred_label([0])
    sample.set_pred_score(torch.tensor([0.1, 0.9]))
    assert evaluate([sample])["set/OF1"] == 100
    evaluator = Evaluator([MultiLabelMetric(thr=0.5, average="micro")])
    evaluator.process([sample])
    assert evaluator.evaluate(1)["multi-label/f1-score_micro"] == 0


def test_bce_predictions_have_no_order_scores():
    results = evaluate(make_samples(12, with_sequence=False))
    assert {"set/CF1", "set/OF1", "set/mAP"} <= set(results)
    assert not {"set/duplicates", "set/rigidness", "set/rigidness_random"} & set(results)


def test_top3_scores_cut_the_emitted_labels():
    sample = DataSample().set_gt_label([0, 1]).set_pred_label([3, 2, 1, 0])
    sample.set_pred_score(torch.tensor([0.9, 0.8, 0.3, 0.7]))
    results = evaluate([sample], top3=True)
    assert results["set/OP"] == 50
    assert results["set/OP_top3"] == pytest.approx(100 * 2 / 3)  # class 2 is cut
    assert results["set/OR_top3"] == 100
    assert results["set/CP_top3"] == 50


def test_half_precision_scores():
    sample = DataSample().set_gt_label([0]).set_pred_label([0])
    sample.set_pred_score(torch.tensor([0.75, 0.25], dtype=torch.bfloat16))
    assert evaluate([sample])["set/mAP"] == 100


def test_predictions_without_scores_leave_map_out():
    sample = {"pred_label": [0, 2], "gt_label": np.array([0]), "sequence": [0, 2]}
    results = evaluate([sample], num_classes=3)
    assert "set/mAP" not in results
    assert results["set/CP"] == pytest.approx(100 / 3)
    with pytest.raises(ValueError, match="top3 needs pred_score"):
        evaluate([sample], num_classes=3, top3=True)


def test_number_of_classes_comes_from_the_dataset_where_there_are_no_scores():
    metric = LabelSetMetric()
    metric.process(None, [{"pred_label": [0], "gt_label": [0]}])
    with pytest.raises(ValueError, match=r"cannot tell the number of classes.* give num_classes"):
        metric.evaluate(1)
    metric = LabelSetMetric()
    metric.dataset_meta = {"classes": ("a", "b", "c", "d")}
    metric.process(None, [{"pred_label": [0], "gt_label": [0]}])
    assert metric.evaluate(1)["set/CR"] == 25


def test_numbers_of_classes_must_agree():
    with pytest.raises(ValueError, match=r"different numbers of classes .*: \[5, 7\]"):
        evaluate(make_samples(2), num_classes=7)
    metric = LabelSetMetric()
    metric.dataset_meta = {"classes": ("a", "b", "c")}
    metric.process(None, [sample.to_dict() for sample in make_samples(2)])
    with pytest.raises(ValueError, match=r"different numbers of classes .*: \[3, 5\]"):
        metric.evaluate(2)


def test_map_over_all_classes_counts_those_without_a_positive_as_0():
    samples = make_samples(30)
    for sample in samples:
        sample.set_gt_label(sample.gt_label[sample.gt_label < NUM_CLASSES - 2])
    results = evaluate(samples)
    assert results["set/mAP_all_classes"] == pytest.approx(results["set/mAP"] * 3 / NUM_CLASSES)


def test_ignored_labels_are_left_out_of_map_alone(log):
    """The mAP equals that of the images that remain when they are dropped class by class."""
    samples = make_samples(30)
    before = evaluate(samples)
    rng = np.random.default_rng(1)
    ignored = rng.random((30, NUM_CLASSES)) < 0.3
    for sample, row in zip(samples[1:], ignored[1:]):  # the first one has no such field
        sample.set_field(np.flatnonzero(row).tolist(), "gt_ignore")
    ignored[0] = False
    after = evaluate(samples)
    truth = label_matrix([s.gt_label.tolist() for s in samples], NUM_CLASSES)
    scores = np.stack([s.pred_score.numpy() for s in samples])
    expected = [
        mean_average_precision(scores[kept, c : c + 1], truth[kept, c : c + 1])[0]
        for c, kept in enumerate(~ignored.T)
    ]
    assert after.pop("set/mAP") == pytest.approx(np.mean(expected))
    assert after.pop("set/mAP_all_classes") == pytest.approx(np.mean(expected))
    assert before["set/mAP"] != pytest.approx(np.mean(expected))
    assert after == {name: value for name, value in before.items() if "mAP" not in name}
    assert f"mAP leaves out 0 classes and {ignored.sum()} labels that are not judged" in log[-1]


@pytest.mark.parametrize("with_scores", [True, False])
def test_scores_of_each_class_are_logged_and_kept(log, with_scores):
    samples = [sample.to_dict() for sample in make_samples(9)]
    for sample in samples:
        sample["gt_ignore"] = [0]
        if not with_scores:
            del sample["pred_score"]
    metric = LabelSetMetric(per_class=True, num_classes=NUM_CLASSES)
    metric.dataset_meta = {"classes": ("ant", "bee", "cat", "dog", "emu")}
    metric.process(None, samples)
    results = metric.evaluate(9)
    rows = metric.of_classes
    assert np.mean([row["precision"] for row in rows]) == pytest.approx(results["set/CP"])
    assert [row["class"] for row in rows] == list(metric.dataset_meta["classes"])
    assert all(("AP" in row) == with_scores for row in rows)
    if with_scores:
        assert np.isnan(rows[0]["AP"])  # never judged
        assert np.nanmean([row["AP"] for row in rows]) == pytest.approx(results["set/mAP"])
    assert log[-1] == f"LabelSetMetric, per class:\n{class_table(rows)}"
    metric.process(None, samples)
    assert metric.of_classes is None  # until the next evaluation


def test_works_inside_a_multi_task_metric():
    samples = make_samples(6)
    metric = METRICS.build(
        {"type": "MultiTasksMetric", "task_metrics": {"tags": [{"type": "LabelSetMetric"}]}}
    )
    metric.process(None, [{"tags": {**s.to_dict(), "eval_mask": True}} for s in samples])
    results = metric.evaluate(6)
    assert results == {f"tags_{name}": value for name, value in evaluate(samples).items()}


def test_the_log_lists_what_the_scores_leave_out(log):
    samples = [
        {"pred_label": [0], "gt_label": [0], "pred_score": torch.rand(4), "sequence": [0]},
        {"pred_label": [2], "gt_label": [0, 1], "pred_score": torch.rand(4), "sequence": [2]},
    ]
    results = evaluate(samples)
    assert np.isnan(results["set/rigidness"])
    assert log == [
        "LabelSetMetric: 2 images, 4 classes; 2 classes never predicted (precision 0); "
        "2 classes without a positive (recall 0); mA leaves out 3 classes; "
        "mAP leaves out 2 classes; rigidness is NaN: no image has two labels"
    ]


@pytest.mark.parametrize("field,what", [("pred_label", "prediction"), ("gt_label", "ground truth")])
def test_class_index_out_of_range(field, what):
    samples = make_samples(3)
    samples[2].set_field(torch.tensor([0, 5]), field)
    with pytest.raises(ValueError, match=f"class index 5 in the {what} of image 2 is not in 0 … 4"):
        evaluate(samples)


def test_no_prediction_at_all():
    with pytest.raises(ValueError, match="no predictions to score"):
        evaluate([])


def test_missing_labels():
    with pytest.raises(ValueError, match="needs gt_label, but the data sample has only pred_label"):
        LabelSetMetric().process(None, [{"pred_label": [0]}])


def test_a_partial_evaluation_is_logged(log):
    metric = LabelSetMetric()
    metric.process(None, [sample.to_dict() for sample in make_samples(3)])
    metric.evaluate(10)
    assert "only 3 of the dataset's 10 images were evaluated" in log[0]


def test_more_results_than_images():
    metric = LabelSetMetric()
    metric.process(None, [sample.to_dict() for sample in make_samples(4)])
    with pytest.raises(
        ValueError, match=r"got 4 results .* for a dataset of 3 images; use mmengine"
    ):
        metric.evaluate(3)


# Two processes see images 0 2 4 and 1 3; a sampler that rounds up gives the second image 0 as well.
TWO_PROCESSES = """
import datetime, json, sys
import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmorderless.metrics import LabelSetMetric, label_set_metric

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group(
    "gloo", init_method="file://" + store, rank=rank, world_size=2,
    timeout=datetime.timedelta(seconds=600),
)
samples = torch.load("samples.pt", weights_only=False)
results = {}
for name, settings, round_up in (
    ("cpu", {"collect_dir": "collected"}, True),
    ("gpu", {}, True),
    ("unpadded", {}, False),
    ("highest", {"score_topk": 2}, True),
):
    label_set_metric.MAX_EXACT_CLASSES = 1 if name == "highest" else 1000
    metric = LabelSetMetric(collect_device="cpu" if name == "cpu" else "gpu", **settings)
    sampler = DefaultSampler(samples, shuffle=False, round_up=round_up)
    metric.process(None, [samples[i] for i in sampler])
    seen = sum(len(records) for records in metric.results)
    results[name] = seen, metric.evaluate(len(samples))
label_set_metric.MAX_EXACT_CLASSES = 1000
metric.process(None, samples)  # both processes see all images
try:
    metric.evaluate(len(samples))
except ValueError as error:
    results["error"] = str(error)
with open(f"rank{rank}.json", "w") as file:
    json.dump(results, file)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_padded_images_are_not_counted_twice(tmp_path, run_two_processes, monkeypatch):
    samples = make_samples(5)
    torch.save([sample.to_dict() for sample in samples], tmp_path / "samples.pt")
    run_two_processes(TWO_PROCESSES)

    alone = evaluate(samples)
    monkeypatch.setattr(label_set_metric, "MAX_EXACT_CLASSES", 1)
    highest_alone = evaluate(samples, score_topk=2)
    assert highest_alone != alone
    for rank, unpadded in ((0, 3), (1, 2)):
        results = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert "got 10 results from 2 process(es) for a dataset of 5 images" in results.pop("error")
        assert {name: seen for name, (seen, _) in results.items()} == {
            "cpu": 3,
            "gpu": 3,
            "unpadded": unpadded,
            "highest": 3,
        }
        for name, (_, scores) in results.items():
            assert scores == pytest.approx(highest_alone if name == "highest" else alone)


def test_batches_do_not_matter():
    samples = [sample.to_dict() for sample in make_samples(30)]
    samples[3]["gt_ignore"] = [0, 1]
    expected = evaluate(samples)
    for batch_size in (1, 7, 30):
        assert evaluate(samples, batch_size) == expected
    metric = LabelSetMetric()
    for batch in (samples, []):
        metric.process(None, batch)
    assert metric.evaluate(30) == expected


def test_a_field_that_one_image_lacks_is_left_out():
    samples = [sample.to_dict() for sample in make_samples(8)]
    del samples[6]["pred_score"], samples[1]["sequence"]
    results = evaluate(samples, num_classes=NUM_CLASSES)
    assert not {"set/mAP", "set/duplicates"} & set(results)
    assert "set/OF1" in results


@pytest.mark.parametrize("batch_size", [1, 2])
def test_images_must_have_the_same_number_of_scores(batch_size):
    samples = [
        {"pred_label": [0], "gt_label": [0], "pred_score": torch.rand(number)} for number in (3, 4)
    ]
    with pytest.raises(ValueError, match=r"pred_score .*: \[3, 4\]; .* score for every class"):
        evaluate(samples, batch_size)


def test_many_classes_keep_the_highest_scores(monkeypatch, log):
    samples = make_samples(30)
    exact = evaluate(samples, top3=True)
    assert evaluate(samples, top3=True, score_topk=2) == exact  # there are few classes
    assert "highest scores" not in log[-1]
    monkeypatch.setattr(label_set_metric, "MAX_EXACT_CLASSES", NUM_CLASSES - 1)
    assert evaluate(samples, top3=True, score_topk=None) == exact
    assert evaluate(samples, top3=True, score_topk=NUM_CLASSES) == exact
    assert "mAP from the 5 highest scores of each image" in log[-1]

    results = evaluate(samples, score_topk=2)
    scores = np.stack([sample.pred_score.numpy() for sample in samples])
    truth = label_matrix([s.gt_label.tolist() for s in samples], NUM_CLASSES)
    second = np.sort(scores)[:, -2:-1]
    value, _ = mean_average_precision(np.where(scores >= second, scores, -1), truth)
    assert results.pop("set/mAP") == results.pop("set/mAP_all_classes") == value
    assert value != exact["set/mAP"]
    assert results == {name: exact[name] for name in results}  # the rest is exact


def test_score_topk_keeps_at_least_one():
    with pytest.raises(ValueError, match=r"score_topk must be at least 1, or None for all, got 0"):
        LabelSetMetric(score_topk=0)


def test_many_classes_take_no_dense_matrix():
    """Of images × classes one byte would take 10 MB, of classes × classes 400 MB."""
    number, num_classes = 500, 20_000
    rng = np.random.default_rng(0)
    metric = LabelSetMetric(score_topk=10)
    for _ in range(number // 10):
        labels = rng.integers(num_classes, size=(10, 6))
        scores = torch.from_numpy(rng.random((10, num_classes), dtype=np.float32))
        metric.process(
            None,
            [
                {"gt_label": row[:4], "pred_label": row[2:], "sequence": row[2:], "pred_score": s}
                for row, s in zip(labels, scores)
            ],
        )
    tracemalloc.start()
    try:
        results = metric.evaluate(number)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert results["set/OP"] == pytest.approx(50, abs=1)
    assert peak < 5e6
