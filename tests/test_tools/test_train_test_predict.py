"""Train, kill, resume, evaluate and predict with the tools; also on two processes."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.commands.test import evaluate
from mmorderless.runs.config import read_config

EPOCHS, BATCHES = 3, 5


def metrics_of(file) -> dict[str, float]:
    return json.loads(file.read_text())


def test_train_killed_resumed_tested_and_used(project):
    killed = project.run("train.py", "tiny.py", "--work-dir", "w", "--resume", KILL_AT="1 2")
    assert "no whole checkpoint in w: starting from scratch" in killed.stdout
    assert killed.returncode == -9
    assert (project.folder / "w/epoch_1.pth").is_file()
    assert not (project.folder / "w/epoch_2.pth").exists()

    resumed = project.run("train.py", "tiny.py", "--work-dir", "w", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from" in resumed.stdout
    last = torch.load(project.folder / f"w/epoch_{EPOCHS}.pth", weights_only=False)
    # As many updates as an uninterrupted run makes.
    assert last["meta"]["iter"] == EPOCHS * BATCHES
    steps = {int(state["step"]) for state in last["optimizer"]["state"].values()}
    assert steps == {EPOCHS * BATCHES}

    command = ("test.py", "tiny.py", f"w/epoch_{EPOCHS}.pth", "--work-dir", "t")
    outputs = ("--out", "t/metrics.json", "--dump", "t/predictions.pkl")
    tested = project.run(*command, *outputs, "--cfg-options", "test_evaluator.per_class=True")
    assert tested.returncode == 0, tested.stderr
    metrics = metrics_of(project.folder / "t/metrics.json")
    per_class = metrics.pop("set/per_class")
    assert [row["class"] for row in per_class] == ["ant", "bee", "cat", "dog"]
    mean_recall = sum(row["recall"] for row in per_class) / 4
    assert mean_recall == pytest.approx(metrics["set/CR"])
    assert metrics["set/OF1"] is not None
    validated = metrics_of(project.folder / "w/val_rank0.json")
    assert metrics == pytest.approx(validated, nan_ok=True)
    assert (project.folder / "t/predictions.pkl").is_file()

    (project.folder / "val/broken.jpg").write_bytes(b"\xff\xd8\xff")
    used = project.run("predict.py", "tiny.py", f"w/epoch_{EPOCHS}.pth", "val", "train/0.png")
    assert used.returncode == 1  # one image is broken; the others are predicted
    assert used.stderr.splitlines()[-1].startswith("error: image val/broken.jpg (3 bytes) is")
    document = json.loads((project.folder / "predictions/predictions.json").read_text())
    assert document["version"] == 1
    assert document["classes"] == ["ant", "bee", "cat", "dog"]
    assert document["checkpoint"] == f"w/epoch_{EPOCHS}.pth"
    paths = [*(f"val/{i}.png" for i in range(7)), "val/broken.jpg", "train/0.png"]
    assert [image["image"] for image in document["images"]] == paths
    for image in document["images"]:
        if "error" in image:
            assert image["image"] == "val/broken.jpg"
            continue
        assert image["names"] == [document["classes"][label] for label in image["labels"]]
        assert len(image["probabilities"]) == len(image["labels"])
        assert (project.folder / "predictions" / image["picture"]).is_file()
    # The pictures of val/0.png and train/0.png do not overwrite each other.
    assert document["images"][0]["picture"] != document["images"][-1]["picture"]


def test_views_are_predicted_one_by_one_and_averaged(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    cfg = read_config("tiny.py")
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    torch.save(dict(state_dict=model.state_dict(), meta={}), "w.pth")
    with open("tiny.py", "a") as file:
        file.write("custom_hooks = [dict(type='LabelSetReportHook', num_images=1)]")

    outputs = ("--out", "metrics.json", "--dump", "views.pkl")
    evaluate(["tiny.py", "w.pth", "--work-dir", "w", "--tta", *outputs])
    dumped = pickle.loads(Path("views.pkl").read_bytes())
    assert len(dumped) == 7
    for i, merged in enumerate(dumped):
        image = cv2.resize(cv2.imread(f"val/{i}.png"), (32, 32))
        views = torch.from_numpy(np.stack([image, image[:, ::-1]])).permute(0, 3, 1, 2)
        plain = model.val_step(dict(inputs=views, data_samples=[DataSample(), DataSample()]))
        mean = (plain[0].pred_score + plain[1].pred_score) / 2
        torch.testing.assert_close(merged["pred_score"], mean)
        votes = torch.cat([sample.pred_label for sample in plain]).bincount(minlength=4)
        expected = (votes == 2) | ((votes == 1) & (mean >= 0.5))
        assert sorted(merged["pred_label"].tolist()) == expected.nonzero()[:, 0].tolist()
    metrics = metrics_of(Path("metrics.json"))
    assert metrics["set/OF1"] is not None
    assert "set/duplicates" not in metrics
    assert [path.suffix for path in Path("w").glob("*/label_sets/test/images/*")] == [".png"]

    with open("tiny.py", "a") as file:
        views = "[dict(type='TestTimeAug', transforms=[[pipeline[2]]])]"
        file.write("\ncustom_hooks = []\ntta_model = dict(type='LabelSetTTA')\n")
        file.write(f"tta_pipeline = pipeline[:2] + {views}")
    for option in ([], ["--tta"]):
        evaluate(["tiny.py", "w.pth", "--work-dir", "w", *option, "--out", f"{option}.json"])
    plain, one_view = (metrics_of(Path(f"{option}.json")) for option in ([], ["--tta"]))
    of_sequences = {"set/duplicates", "set/rigidness", "set/rigidness_random"}
    assert plain.keys() - one_view.keys() == of_sequences
    assert one_view == {name: plain[name] for name in one_view}


def test_two_processes_on_the_cpu_validate_what_one_computes_on_the_checkpoint(project):
    options = ("--work-dir", "w", "--cfg-options", "train_cfg.max_epochs=1")
    trained = project.run("dist_train.sh", "tiny.py", "2", *options)
    assert trained.returncode == 0, trained.stderr
    ranks = [metrics_of(project.folder / f"w/val_rank{rank}.json") for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    # Five batches of one process are three of two.
    assert torch.load(project.folder / "w/epoch_1.pth", weights_only=False)["meta"]["iter"] == 3

    command = ("test.py", "tiny.py", "w/epoch_1.pth", "--work-dir", "t", "--out", "one.json")
    assert project.run(*command).returncode == 0
    assert metrics_of(project.folder / "one.json") == pytest.approx(ranks[0], nan_ok=True)


def test_user_error_is_one_line_on_stderr(project):
    records = json.loads((project.folder / "train.json").read_text())
    records["data_list"][3]["gt_label"] = [4]
    (project.folder / "train.json").write_text(json.dumps(records))
    done = project.run("train.py", "tiny.py", "--work-dir", "w", MMORDERLESS_DEBUG="0")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: labels of train/3.png must be in 0 … 3")
