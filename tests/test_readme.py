"""The README's texts are run as they stand."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmorderless.commands.train import train

FEW = [
    "train_cfg.max_epochs=1",
    "param_scheduler=None",  # those of Swin and DeiT warm up for longer
    *(f"{x}_dataloader.batch_size=2" for x in ("train", "val", "test")),
    *(f"{x}_dataloader.num_workers=0" for x in ("train", "val", "test")),
]


@pytest.fixture(scope="module")
def readme(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch, repository):
    """A user's folder: the text of a config, photo.jpg and data/photos."""
    photos = tmp_path / "data/photos"
    (photos / "images").mkdir(parents=True)
    labels = [[0, 3], [], [23], [1, 2, 3, 4]]
    random = np.random.default_rng(0)
    for i in range(len(labels)):
        pixels = random.integers(0, 256, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"images/{i}.jpg")
        Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    items = [{"img_path": f"images/{i}.jpg", "gt_label": y} for i, y in enumerate(labels)]
    annotation = {"metainfo": {"classes": [f"class {c}" for c in range(24)]}, "data_list": items}
    for split in ("train", "val"):
        (photos / f"{split}.json").write_text(json.dumps(annotation))
    config = (repository / "configs/examples/my_photos.py").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(path=tmp_path, config=config)


def test_the_config_trains_and_the_inferencer_reads_its_checkpoint(folder, readme, capsys):
    (folder.path / "my_config.py").write_text(folder.config)
    train(["my_config.py", "--cfg-options", "model.backbone.init_cfg=None", *FEW])
    snippet = next(block for block in python_blocks(readme) if "OrderlessInferencer" in block)
    exec(compile(snippet, "README.md", "exec"), {})
    assert "(" in capsys.readouterr().out.splitlines()[-1]  # the attention's shape


@pytest.mark.slow_except("swin_transformer/swin-tiny_16xb64_in1k.py--in_channels=768")
@pytest.mark.parametrize(
    "base, backbone, head",
    [
        ("swin_transformer/swin-tiny_16xb64_in1k.py", "", "in_channels=768"),
        ("deit/deit-tiny_4xb256_in1k.py", "out_type='featmap'", "in_channels=192"),
        (
            "deit/deit-tiny_4xb256_in1k.py",
            "out_type='raw'",
            "in_channels=192, drop_class_token=True",
        ),
    ],
)
def test_other_backbones_as_the_table_says(folder, repository, base, backbone, head):
    assert f"`mmpretrain::{base}`" in (repository / "configs/examples/README.md").read_text("utf-8")
    text = folder.config.replace("resnet/resnet50_8xb32_in1k.py", base)
    text = re.sub(r"backbone=dict\(init_cfg=.*\),\n", f"backbone=dict({backbone}),\n", text)
    text = text.replace("in_channels=2048", head)
    (folder.path / "my_config.py").write_text(text)
    train(["my_config.py", "--cfg-options", *FEW])
    assert (folder.path / "work_dirs/my_config/epoch_1.pth").is_file()


def test_every_file_that_is_named_exists(readme, repository):
    named = set(re.findall(r"\b((?:tools|configs)/[\w/.-]+\.(?:py|sh))", readme))
    assert {"tools/train.py", "tools/quickstart.sh"} <= named
    assert [path for path in named if not (repository / path).is_file()] == []


def test_every_metric_is_described(readme):
    from mmorderless.metrics.label_set_metric import LabelSetMetric

    sample = dict(pred_label=[0, 1], gt_label=[1], pred_score=[0.5, 0.6, 0.1], sequence=[0, 1, 0])
    metric = LabelSetMetric(num_classes=3)
    metric.process({}, [sample])
    for name in metric.evaluate(1):
        stem = name.removeprefix("set/").replace("example_", "_")
        assert re.search(rf"`(?:\w*{stem})`", readme), name
