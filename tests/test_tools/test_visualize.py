"""Tests of tools/visualize.py with a tiny model's test set."""

import importlib.util
import json
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS

from mmorderless.datasets.cached_features import write_split
from mmorderless.inference import visualizer as visualize
from mmorderless.inference.decoded_image import background_picture, decode_image, find_images
from mmorderless.inference.visualizer import ImageVisualizer
from mmorderless.labels.fixed_orders import class_ranks
from mmorderless.labels.vocabulary import MASKED
from mmorderless.models.losses.aligned import MLALoss, PLALoss
from mmorderless.runs.config import read_config

CLASSES = ["ant", "bee", "cat", "dog"]


@pytest.fixture
def folder(project, monkeypatch) -> Path:
    """The project's folder, its config without the probe, and two images with known labels."""
    monkeypatch.chdir(project.folder)
    config = Path("tiny.py").read_text()
    config = config.replace(", 'probe'", "").replace("custom_hooks = [dict(type='Probe')]", "")
    Path("tiny.py").write_text(config)
    content = json.loads(Path("val.json").read_text())
    content["data_list"][0]["gt_label"] = []
    content["data_list"][1]["gt_label"] = [0, 2, 3]
    Path("val.json").write_text(json.dumps(content))
    return project.folder


def save(cfg: Config, file: str = "weights.pth") -> str:
    """Save weights that emit various labels."""
    torch.manual_seed(1)
    model = MODELS.build(dict(cfg.model))
    for parameter in model.head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.7)
    if hasattr(model.head, "decoder"):
        model.head.decoder.classifier.bias.data[-1] = -1
    meta = {"dataset_meta": {"classes": CLASSES}}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, file)
    return file


def visualizer(**options) -> ImageVisualizer:
    cfg = read_config("tiny.py", options)
    return ImageVisualizer(cfg, save(cfg), "cpu")


def run_tool(repository: Path, *arguments: str) -> None:
    path = repository / "tools" / "visualize.py"
    spec = importlib.util.spec_from_file_location("visualize_tool", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main([*arguments, "--device", "cpu"])


def cells(axes, kinds) -> dict[int, int]:
    """Return the label that is marked at each step."""
    found = {}
    for patch in axes.patches:
        if patch.get_gid() in kinds:
            middle = patch.get_extents().transformed(axes.transData.inverted())
            step, label = (middle.y0 + middle.y1) / 2, (middle.x0 + middle.x1) / 2
            found[round(step)] = round(label)
    return found


def test_tool_writes_three_figures_per_image(folder, repository, capsys):
    save(read_config("tiny.py"))
    run_tool(repository, "tiny.py", "weights.pth", "--index", "1", "0", "--out-dir", "out")
    assert sorted(file.name for file in Path("out").iterdir()) == [
        "000000_attention.png",
        "000001_alignment.png",
        "000001_attention.png",
        "000001_orderings.png",
    ]
    said = capsys.readouterr().out.splitlines()
    assert "image 0: no alignment and no orderings: the image has no label" in said
    assert str(Path("out/000001_orderings.png")) in said
    assert cv2.imread("out/000001_alignment.png") is not None


def test_tool_finds_images_by_their_files(folder, repository):
    save(read_config("tiny.py", {"model.head.decoder.attention_size": None}))
    options = ("--out-dir", "out", "--cfg-options", "model.head.decoder.attention_size=None")
    run_tool(repository, "tiny.py", "weights.pth", "--images", "val/1.png", *options)
    written = {file.name for file in Path("out").iterdir()}
    assert written == {"000001_alignment.png", "000001_orderings.png"}


def test_alignment_shows_what_the_losses_choose_and_cost(folder):
    tool = visualizer()
    num_pinned = 0
    for index in range(1, len(tool.dataset)):
        decoded = decode_image(tool.model, tool.dataset[index])
        labels, n = decoded.labels, len(decoded.labels)
        if n == 0:
            continue
        axes = visualize.draw_alignment(decoded, tool.classes).axes[0]
        end = torch.nn.functional.cross_entropy(decoded.logits[n], torch.tensor(len(CLASSES)))
        losses = {}
        for loss in (PLALoss(), MLALoss()):
            tokens = loss.align(decoded.logits[None], [labels])
            kinds = ("mla",) if isinstance(loss, MLALoss) else ("pla", "pla pinned")
            marked = cells(axes, kinds)
            assert [int(labels[marked[t]]) for t in range(n)] == tokens[0, :n].tolist()
            # The training loss is the mean over the labels' steps and END's.
            mean = loss.loss_of_tokens(decoded.logits[None], tokens)
            losses[type(loss).__name__] = float(mean * (n + 1) - end)
        assert losses["PLALoss"] >= losses["MLALoss"] - 1e-5
        title = "summed loss: PLA {PLALoss:.2f} nats, MLA {MLALoss:.2f} nats"
        assert axes.get_title() == title.format(**losses)
        pinned = cells(axes, ("pla pinned",))
        emitted = decoded.tokens[:n].tolist()
        first = {emitted.index(label): label for label in labels.tolist() if label in emitted}
        assert {step: int(labels[place]) for step, place in pinned.items()} == first
        num_pinned += len(pinned)
    assert num_pinned > 0


def test_logits_are_those_of_the_training_rollout(folder):
    tool = visualizer()
    item = tool.dataset[1]
    decoded = decode_image(tool.model, item)
    with torch.no_grad():
        data = tool.model.data_preprocessor(
            {"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]}, False
        )
        head = tool.model.head
        grid = head.pre_logits(tool.model.extract_feat(data["inputs"]))
        rollout = head.decoder.training_rollout(grid, [len(decoded.labels) + 1])
    assert torch.allclose(decoded.logits, rollout.logits[0], atol=1e-5)
    assert decoded.attention.shape[0] == len(decoded.sequence) == len(decoded.probabilities)
    assert decoded.attention.sum(axis=(1, 2)) == pytest.approx(np.ones(len(decoded.sequence)))


def test_orders_are_those_of_the_strategies():
    classes = ["dog", "cat", "ant", "bee", "elk"]
    counts = np.array([5, 9, 1, 7, 5])
    labels = torch.tensor([0, 2, 3, 4])
    logits = torch.randn(5, 6)
    orders = visualize.target_orders(logits, labels, classes, counts, seed=0)
    assert orders["frequent-first"].tolist() == [3, 0, 4, 2]  # dog before elk: by name
    assert orders["rare-first"].tolist() == [2, 0, 4, 3]
    assert orders["dictionary"].tolist() == [2, 3, 0, 4]
    for order in ("frequent_first", "rare_first", "dictionary"):
        ranks = class_ranks(order, classes, counts)
        found = orders[order.replace("_", "-")]
        assert found.tolist() == sorted(labels.tolist(), key=ranks.__getitem__)
    costs = visualize.step_costs(logits)
    masked = logits.index_fill(1, torch.tensor(2), MASKED)
    assert (visualize.step_costs(masked)[:, 2] == np.inf).all()
    summed = {name: costs[np.arange(4), order].sum() for name, order in orders.items()}
    best = min(sum(costs[t, c] for t, c in enumerate(p)) for p in permutations(labels.tolist()))
    assert summed["MLA"] == pytest.approx(best)
    assert all(loss >= best - 1e-9 for loss in summed.values())
    again = visualize.target_orders(logits, labels, classes, counts, seed=0)
    assert again["random"].tolist() == orders["random"].tolist()
    others = {
        tuple(visualize.target_orders(logits, labels, classes, counts, seed)["random"].tolist())
        for seed in range(8)
    }
    assert len(others) > 1
    assert {tuple(sorted(order)) for order in others} == {(0, 2, 3, 4)}


def test_orderings_count_the_training_set(folder):
    tool = visualizer()
    train = json.loads(Path("train.json").read_text())["data_list"]
    counts = [sum(label in record["gt_label"] for record in train) for label in range(4)]
    assert tool.training_counts().tolist() == counts
    figures, left_out = tool.figures(1)
    assert left_out == []
    texts = [text.get_text() for text in figures["orderings"].axes[0].texts]
    headers = ["frequent-first", "rare-first", "dictionary", "random", "MLA", "PLA"]
    assert [text for text in texts if text in headers] == headers
    Path("train.json").unlink()
    figures, left_out = visualizer().figures(1)
    assert left_out[0].startswith("no frequent-first and no rare-first order: ")
    texts = [text.get_text() for text in figures["orderings"].axes[0].texts]
    assert [text for text in texts if text in headers] == headers[2:]


def test_attention_lies_over_the_photo_in_the_file(folder):
    figures, _ = visualizer().figures(1)
    photo = figures["attention"].axes[0].images[0].get_array()
    assert (photo == cv2.imread("val/1.png")[..., ::-1]).all()  # not the resized input


def test_attention_lies_over_the_box_or_what_the_network_sees(folder):
    tool = visualizer()
    image = cv2.imread("val/1.png")
    content = json.loads(Path("val.json").read_text())
    for record in content["data_list"]:
        record["box"] = [4, 10, 24, 30]
    Path("val.json").write_text(json.dumps(content))
    boxed = dict(type="CropBox")
    cropped = dict(type="CenterCrop", crop_size=(20, 20))
    load, pack = dict(type="LoadImage"), dict(type="PackInputs")
    resize = dict(type="Resize", scale=(32, 32))
    for pipeline, expected in [
        ([load, boxed, resize, pack], image[10:30, 4:24, ::-1]),
        ([load, cropped, pack], image[10:30, 14:34, ::-1]),
    ]:
        dataset = DATASETS.build({**tool.config.test_dataloader.dataset, "pipeline": pipeline})
        info = {"img_path": "val/1.png", "box": [4, 10, 24, 30], "gt_label": []}
        dataset.get_data_info = lambda index, info=info: dict(info)
        picture, reason = background_picture(dataset, 1, dataset[1]["inputs"])
        assert reason == ""
        assert (picture == expected).all()


def test_cached_features_show_the_photo_that_they_are_of(folder):
    images = [{"img_path": "val/1.png", "gt_label": [0]}, {"img_path": "gone.png", "gt_label": []}]
    write_split(Path("cache"), "val", "key", images, CLASSES, [np.zeros((2, 64, 1, 1))])
    dataset = DATASETS.build(dict(type="CachedFeatures", cache="cache", split="val"))
    picture, _ = background_picture(dataset, 0, dataset[0]["inputs"])
    assert (picture == cv2.imread("val/1.png")[..., ::-1]).all()
    picture, reason = background_picture(dataset, 1, dataset[1]["inputs"])
    assert picture is None
    assert "gone.png does not exist" in reason


def test_omitted_figures_are_reported(folder):
    figures, left_out = visualizer(**{"model.head.decoder.attention_size": None}).figures(1)
    assert set(figures) == {"alignment", "orderings"}
    assert left_out == ["no attention: the model gives no maps of attention"]
    cfg = read_config("tiny.py")
    cfg.model.head = dict(
        type="OrderlessRNNHead",
        num_classes=4,
        in_channels=64,
        max_steps=6,
        decoder=dict(type="MultiOrderRNN", hidden_size=8),
        loss=dict(type="MultiOrderLoss"),
        decoding=dict(stop_threshold=0.5, no_repeat=True),
    )
    figures, left_out = ImageVisualizer(cfg, save(cfg), "cpu").figures(1)
    assert set(figures) == {"attention"}
    assert left_out == ["no alignment and no orderings: the model has no END and no order"]


def test_model_without_sequences_is_rejected(folder):
    cfg = read_config("tiny.py")
    cfg.model.neck = dict(type="GlobalAveragePooling")
    cfg.model.head = dict(type="MultiLabelLinearClsHead", num_classes=4, in_channels=64)
    with pytest.raises(ValueError, match="MultiLabelLinearClsHead, emits no sequence"):
        ImageVisualizer(cfg, save(cfg), "cpu")


def test_missing_image_is_an_error(folder):
    tool = visualizer()
    with pytest.raises(ValueError, match=r"no image 7: the test set has the images 0 … 6"):
        tool.figures(7)
    assert find_images(tool.dataset, ["val/3.png", "1.png", "val/0.png"]) == [3, 1, 0]
    with pytest.raises(ValueError, match=r"none.png is not in the test set; .*0.png"):
        find_images(tool.dataset, ["none.png"])


def test_ambiguous_file_name_is_an_error():
    class Known:
        paths = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "b/2.jpg"]

        def __len__(self):
            return len(self.paths)

        def get_data_info(self, index):
            return {"img_path": self.paths[index]}

    assert find_images(Known(), ["2.jpg", "b/1.jpg"]) == [2, 3, 1]
    with pytest.raises(ValueError) as error:
        find_images(Known(), ["1.jpg"])
    assert str(error.value) == "1.jpg matches a/1.jpg, b/1.jpg; give more of the path"
