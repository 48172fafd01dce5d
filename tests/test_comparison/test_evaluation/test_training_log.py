import json

from mmorderless.comparison.evaluation.training_log import read_training_log


def write(folder, name, *records):
    file = folder / name / "vis_data/scalars.json"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def train(step, loss, time=0.5):
    return {"lr": 0.1, "loss": loss, "time": time, "epoch": 1, "iter": step, "step": step}


def test_repeated_iterations_replace_earlier_ones(tmp_path):
    validation = {"set/CF1": 10.0, "time": 9.0, "step": 1}
    write(tmp_path, "20260101_000000", train(2, 4.0), validation, train(6, 3.0))
    write(tmp_path, "20260101_000100", train(6, 2.0, 1.0))
    assert read_training_log(tmp_path, iterations=8, per_epoch=4) == {
        "loss_curve": [[0.5, 4.0], [1.5, 2.0]],
        "training_seconds": 0.75 * 8,
    }


def test_infinite_and_nan_losses_are_left_out(tmp_path):
    write(tmp_path, "a", train(2, float("nan")), train(4, float("inf")), train(6, 3.0))
    log = read_training_log(tmp_path, iterations=8, per_epoch=4)
    assert log == {"loss_curve": [[1.5, 3.0]], "training_seconds": 0.5 * 8}


def test_an_incomplete_line_is_skipped(tmp_path):
    write(tmp_path, "a", train(2, 4.0), train(4, 3.0))
    file = tmp_path / "a/vis_data/scalars.json"
    for end in (b'{"lr": 0.1, "lo', b"\0\0\0", b"\xff"):
        file.write_bytes(file.read_bytes() + end + b"\n")
    log = read_training_log(tmp_path, iterations=8, per_epoch=4)
    assert log["loss_curve"] == [[0.5, 4.0], [1, 3.0]]


def test_a_training_without_a_log(tmp_path):
    log = read_training_log(tmp_path, iterations=8, per_epoch=4)
    assert log == {"loss_curve": [], "training_seconds": None}
