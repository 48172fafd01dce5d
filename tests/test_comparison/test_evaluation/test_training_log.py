import json

from mmorderless.comparison.evaluation.training_log import read_curves


def write(folder, name, *records):
    file = folder / name / "vis_data/scalars.json"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def train(step, loss, time=0.5):
    return {"lr": 0.1, "loss": loss, "time": time, "epoch": 1, "iter": step, "step": step}


def test_repeated_iterations_replace_earlier_ones(tmp_path):
    scores = {"set/CF1": 10.0, "set/OF1": 20.0, "time": 9.0}
    write(tmp_path, "20260101_000000", train(2, 4.0), {**scores, "step": 1}, train(6, 3.0))
    write(tmp_path, "20260101_000100", train(6, 2.0, 1.0), {**scores, "set/mAP": 5.0, "step": 2})
    curves = read_curves(tmp_path, iterations=8, epochs=2, by_epoch=True)
    assert curves == {
        "loss_curve": [[0.5, 4.0], [1.5, 2.0]],
        "validation_curve": [[1, 10.0, 20.0, None], [2, 10.0, 20.0, 5.0]],
        "training_seconds": 0.75 * 8,
    }


def test_infinite_and_nan_values_are_left_out(tmp_path):
    nan, infinity = float("nan"), float("inf")
    scores = {"set/CF1": nan, "set/OF1": 20.0, "set/mAP": -infinity, "step": 2}
    write(tmp_path, "a", train(2, nan), train(4, infinity), train(6, 3.0), scores)
    curves = read_curves(tmp_path, iterations=8, epochs=2, by_epoch=True)
    assert curves["loss_curve"] == [[1.5, 3.0]]
    assert curves["validation_curve"] == [[2, None, 20.0, None]]
    assert curves["training_seconds"] == 0.5 * 8
    json.dumps(curves, allow_nan=False)


def test_an_incomplete_line_is_skipped(tmp_path):
    write(tmp_path, "a", train(2, 4.0), train(4, 3.0))
    file = tmp_path / "a/vis_data/scalars.json"
    for end in (b'{"lr": 0.1, "lo', b"\0\0\0", b"\xff"):
        file.write_bytes(file.read_bytes() + end + b"\n")
    curves = read_curves(tmp_path, iterations=8, epochs=2, by_epoch=True)
    assert curves["loss_curve"] == [[0.5, 4.0], [1, 3.0]]


def test_validations_of_a_training_that_counts_iterations(tmp_path):
    write(tmp_path, "a", {"set/CF1": 1.0, "set/OF1": 2.0, "set/mAP": 3.0, "step": 6})
    curves = read_curves(tmp_path, iterations=8, epochs=2, by_epoch=False)
    assert curves["validation_curve"] == [[1.5, 1.0, 2.0, 3.0]]
    assert curves["loss_curve"] == []
    assert curves["training_seconds"] is None
