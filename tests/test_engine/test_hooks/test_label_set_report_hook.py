import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend, register_backend
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Subset

from mmorderless.datasets.image_paths import image_backend
from mmorderless.datasets.loading import LoadImage
from mmorderless.engine import label_set_report
from mmorderless.engine.hooks import label_set_report_hook
from mmorderless.engine.label_set_report import write_images
from mmorderless.metrics import LabelSetMetric, label_set_metric

CLASSES = ("cat", "dog", "cup")
# What is emitted for image i, and what is true: repeats and empty sets included.
SEQUENCES = ([0, 1], [1, 0, 1], [], [2], [0, 1, 2])
TRUTH = ([0, 1], [0], [1], [], [0, 1, 2])

# Counted by hand.
PAIRS = [[0, 1], [0, 2], [1, 2]]
PREDICTED_TOGETHER = [3, 1, 1]
TRULY_TOGETHER = [2, 1, 1]
BEFORE = [[2, 1], [1, 0], [1, 0]]
COUNT_AT_STEP = [[2, 1, 1], [1, 2, 0], [0, 1, 1]]


def make_sample(i, folder, ordered=True):
    """The orderless head's prediction for image i; that of a BCE head when not ordered."""
    sample = DataSample(metainfo={"img_path": f"{folder}/{i}.png", "sample_idx": i})
    sample.set_gt_label(torch.tensor(TRUTH[i], dtype=torch.long))
    sample.set_pred_score(torch.tensor([0.5, 0.25, 0.125]))
    labels = torch.tensor(list(dict.fromkeys(SEQUENCES[i])), dtype=torch.long)
    sample.set_pred_label(labels if ordered else labels.sort().values)
    if ordered:
        sample.set_field(torch.tensor(SEQUENCES[i], dtype=torch.long), "sequence")
        sample.set_field(torch.linspace(0.9, 0.7, len(SEQUENCES[i])), "sequence_score")
    return sample


class Scenes(BaseDataset):
    METAINFO = {"classes": CLASSES}

    def load_data_list(self):
        return [{} for _ in TRUTH]


class Stub(BaseModel):
    def __init__(self, folder, ordered=True):
        super().__init__()
        self.folder, self.ordered = folder, ordered
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, sample_idx, mode):
        if mode == "loss":
            return {"loss": self.weight.sum()}
        return [make_sample(i, self.folder, self.ordered) for i in sample_idx]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(len(TRUTH)):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((48, 48, 3), 40 * i, dtype=np.uint8))
    return folder


def make_runner(tmp_path, model, modes, hook=None, **settings):
    loader = {
        "dataset": {"type": Scenes},
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": 2,
    }
    for mode in modes:
        settings = {f"{mode}_dataloader": loader, f"{mode}_cfg": {}, **settings}
        if mode != "train":
            settings.setdefault(f"{mode}_evaluator", {"type": "LabelSetMetric"})
    return Runner(
        model,
        work_dir=str(tmp_path / "work"),
        experiment_name=tmp_path.name,
        custom_hooks=[{"type": "LabelSetReportHook", **(hook or {})}],
        default_hooks={"checkpoint": None},
        default_scope="mmpretrain",
        visualizer={"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
        **settings,
    )


def report_of(runner, name):
    return os.path.join(runner.log_dir, "label_sets", name)


def files_below(folder):
    return {
        os.path.relpath(os.path.join(path, file), folder)
        for path, _, files in os.walk(folder)
        for file in files
    }


STATISTICS = {
    "cooccurrence.npz",
    "cooccurrence.png",
    "order.npz",
    "label_at_step.png",
    "pair_order.png",
}


def check_counts(folder):
    with np.load(f"{folder}/cooccurrence.npz") as file:
        assert file["pairs"].tolist() == PAIRS
        assert file["predicted"].tolist() == PREDICTED_TOGETHER
        assert file["truth"].tolist() == TRULY_TOGETHER
        assert file["classes"].tolist() == list(CLASSES)
    with np.load(f"{folder}/order.npz") as file:
        assert file["pairs"].tolist() == PAIRS
        assert file["before"].tolist() == BEFORE
        assert file["count_at_step"].tolist() == COUNT_AT_STEP
        assert file["rigidness"].tolist() == pytest.approx([200 / 3, 100, 100])
        assert file["classes"].tolist() == list(CLASSES)


def test_validation_writes_what_was_counted(tmp_path, pictures):
    runner = make_runner(tmp_path, Stub(pictures), ["val"])
    runner.val()
    folder = report_of(runner, "val_epoch_0")
    images = {f"images/image_00000{i}.png" for i in range(5)}
    assert files_below(folder) == STATISTICS | images

    check_counts(folder)

    sent = files_below(os.path.join(runner.log_dir, "vis_data", "vis_image"))
    names = {path.split("/")[-1].removesuffix(".png") for path in STATISTICS | images}
    assert sent == {f"val_{name}_0.png" for name in names - {"cooccurrence.npz", "order.npz"}}


def test_test_writes_evenly_spaced_pictures(tmp_path, pictures):
    runner = make_runner(tmp_path, Stub(pictures), ["test"], {"num_images": 3})
    runner.test()
    folder = report_of(runner, "test")
    assert files_below(folder) == STATISTICS | {f"images/image_00000{i}.png" for i in (0, 2, 4)}


def test_pictures_come_from_the_storage_of_the_pipeline(tmp_path, pictures, monkeypatch):
    class Elsewhere(LocalBackend):
        def get(self, filepath):
            return super().get(pictures / os.path.basename(filepath))

    register_backend("elsewhere", Elsewhere, force=True)
    dataset = Scenes(pipeline=[LoadImage(backend_args={"backend": "elsewhere"})])
    used = image_backend(Subset(dataset, [0]))
    assert used == {"backend": "elsewhere"}
    assert image_backend(Scenes()) is None
    monkeypatch.setattr(label_set_report_hook, "image_backend", lambda dataset: used)
    runner = make_runner(tmp_path, Stub("not/here"), ["test"], {"num_images": 1})
    runner.test()
    assert files_below(report_of(runner, "test/images")) == {"image_000000.png"}


@pytest.mark.parametrize("score_topk, scores", [(None, [0.25, 0.5]), (1, [0, 0.5])])
def test_pictures_show_labels_in_order_with_their_scores(pictures, monkeypatch, score_topk, scores):
    monkeypatch.setattr(label_set_metric, "MAX_EXACT_CLASSES", len(CLASSES) - 1)
    drawn = []
    monkeypatch.setattr(label_set_report, "annotated_image", lambda *args: drawn.append(args))
    metric = LabelSetMetric(score_topk=score_topk)
    metric.process(None, [make_sample(1, pictures).to_dict()])
    write_images(metric.results[0], CLASSES, 1, pictures, lambda *_: None, LoadImage())
    [(image, names, probabilities, true_names)] = drawn
    assert (image == 40).all()
    assert names == ["dog", "cat"]
    assert probabilities.tolist() == scores
    assert true_names == ["cat"]


def test_bce_predictions_have_no_order_statistics(tmp_path, pictures):
    runner = make_runner(tmp_path, Stub(pictures, ordered=False), ["test"], {"num_images": 1})
    runner.test()
    folder = report_of(runner, "test")
    assert files_below(folder) == {
        "cooccurrence.npz",
        "cooccurrence.png",
        "images/image_000000.png",
    }
    with np.load(f"{folder}/cooccurrence.npz") as file:
        assert file["predicted"].tolist() == PREDICTED_TOGETHER


def test_files_that_are_no_pictures_are_skipped_and_logged(tmp_path, pictures, monkeypatch):
    lines = []
    monkeypatch.setattr(label_set_report_hook, "print_log", lambda line, **_: lines.append(line))
    (pictures / "0.png").unlink()
    (pictures / "1.png").write_text("cached features")
    runner = make_runner(tmp_path, Stub(pictures), ["test"])
    runner.test()
    assert files_below(report_of(runner, "test/images")) == {
        f"image_00000{i}.png" for i in (2, 3, 4)
    }
    assert "2 of the images to annotate are not readable as a picture" in lines[0]
    assert f"first '{pictures}/0.png'" in lines[0]


@pytest.mark.slow_except("train_cfg0-names0")
@pytest.mark.parametrize(
    "train_cfg,names",
    [
        ({"by_epoch": True, "max_epochs": 2}, ["val_epoch_1", "val_epoch_2"]),
        ({"by_epoch": False, "max_iters": 4, "val_interval": 2}, ["val_iter_2", "val_iter_4"]),
    ],
)
def test_each_validation_of_a_training_has_its_folder(tmp_path, pictures, train_cfg, names):
    runner = make_runner(
        tmp_path,
        Stub(pictures),
        ["train", "val"],
        {"num_images": 0},
        train_cfg=train_cfg,
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
    )
    runner.train()
    assert sorted(os.listdir(report_of(runner, ""))) == names
    for name in names:
        assert files_below(report_of(runner, name)) == STATISTICS
        with np.load(report_of(runner, f"{name}/cooccurrence.npz")) as file:
            assert file["predicted"].tolist() == PREDICTED_TOGETHER  # nothing left of the last one


def test_a_mere_validation_does_not_build_the_training_set(tmp_path, pictures):
    runner = make_runner(
        tmp_path,
        Stub(pictures),
        ["val"],
        train_dataloader={"dataset": {"type": "NoSuchDataset"}},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
    )
    runner.val()
    assert isinstance(runner._train_loop, dict)
    assert os.listdir(report_of(runner, "")) == ["val_epoch_0"]


def test_classes_without_names_are_called_by_their_index(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(Scenes, "METAINFO", {})
    runner = make_runner(tmp_path, Stub(pictures), ["test"], {"num_images": 0})
    runner.test()
    with np.load(f"{report_of(runner, 'test')}/cooccurrence.npz") as file:
        assert file["classes"].tolist() == ["0", "1", "2"]


def test_an_evaluation_without_label_sets(tmp_path, pictures):
    evaluator = {"type": "MultiLabelMetric", "thr": 0.5}
    runner = make_runner(tmp_path, Stub(pictures), ["test"], test_evaluator=evaluator)
    with pytest.raises(ValueError, match=r"test_evaluator has \['MultiLabelMetric'\]; add"):
        runner.test()


def test_an_evaluator_without_label_sets_is_rejected_before_training(tmp_path, pictures):
    runner = make_runner(
        tmp_path,
        Stub(pictures),
        ["train", "val"],
        train_cfg={"by_epoch": True, "max_epochs": 1},
        val_evaluator={"type": "MultiLabelMetric", "thr": 0.5},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
    )
    with pytest.raises(ValueError, match=r"val_evaluator has \['MultiLabelMetric'\]; add"):
        runner.train()
    assert runner.model.weight == 0  # no step was made


def test_pictures_need_scores(pictures):
    sample = make_sample(1, pictures).to_dict()
    del sample["pred_score"]
    metric = LabelSetMetric()
    metric.process(None, [sample])
    with pytest.raises(ValueError, match=r"needs pred_score .* num_images=0"):
        label_set_report.write_report(metric.results[0], CLASSES, pictures, 1, print)


# Two processes see images 0 2 4 and 1 3 0 (padded).
TWO_PROCESSES = """
import datetime, sys
from types import SimpleNamespace
import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmengine.visualization import Visualizer
from mmorderless.engine.hooks.label_set_report_hook import LabelSetReportHook
from mmorderless.metrics import LabelSetMetric

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group(
    "gloo", init_method="file://" + store, rank=rank, world_size=2,
    timeout=datetime.timedelta(seconds=600),
)
class Dataset(list):
    metainfo = {"classes": ("cat", "dog", "cup")}
dataset = Dataset(torch.load("samples.pt", weights_only=False))
metric = LabelSetMetric()
runner = SimpleNamespace(
    log_dir=f"log{rank}", visualizer=Visualizer(),
    test_dataloader=SimpleNamespace(dataset=dataset),
    test_evaluator=SimpleNamespace(metrics=[metric]),
)
batch = [dataset[i].to_dict() for i in DefaultSampler(dataset, shuffle=False)]
assert len(batch) == 3
metric.process(None, batch)
metric.evaluate(len(dataset))
LabelSetReportHook(num_images=5).after_test_epoch(runner)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_write_one_exact_report(tmp_path, pictures, run_two_processes):
    torch.save([make_sample(i, pictures) for i in range(len(TRUTH))], tmp_path / "samples.pt")
    run_two_processes(TWO_PROCESSES)
    assert not (tmp_path / "log1").exists()
    folder = tmp_path / "log0" / "label_sets" / "test"
    assert files_below(folder) == STATISTICS | {f"images/image_00000{i}.png" for i in range(5)}
    check_counts(folder)


def test_figures_of_pairs_are_left_out_for_many_classes(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(label_set_report, "MAX_DRAWN_CLASSES", len(CLASSES) - 1)
    runner = make_runner(tmp_path, Stub(pictures), ["test"], {"num_images": 0})
    runner.test()
    folder = report_of(runner, "test")
    assert files_below(folder) == {"cooccurrence.npz", "order.npz", "label_at_step.png"}
    check_counts(folder)
