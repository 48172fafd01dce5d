"""Code and claims of the READMEs: snippets run as they are, files and links exist."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image

from mmorderless.commands.train import train
from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.models.losses.aligned import FixedOrderLoss, PLALoss
from mmorderless.runs.config import read_config

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


@pytest.mark.slow
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


def test_the_head_of_the_snippet_is_built(readme):
    (snippet,) = [block for block in python_blocks(readme) if "OrderlessRNNHead" in block]
    namespace = {}
    exec(compile(snippet, "README.md", "exec"), namespace)
    head = MODELS.build(namespace["head"])
    (text,) = re.findall(r"`loss=(dict\(type=\"FixedOrderLoss\".*?\))`", readme, flags=re.DOTALL)
    fixed = eval(text, {"dict": dict})
    assert isinstance(head.loss_module, PLALoss)
    assert isinstance(
        MODELS.build({**namespace["head"], "loss": fixed}).loss_module, FixedOrderLoss
    )
    del namespace["head"]["loss"]
    short = MODELS.build({**namespace["head"], "strategy": "pla"})
    assert type(short.loss_module) is type(head.loss_module)


def anchors(file):
    """Return the anchors of a file's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_file_and_anchor_that_is_named_exists(repository):
    files = [*repository.glob("*.md"), *(repository / "configs").rglob("*.md")]
    for file in [*files, *(repository / "tools").rglob("*.md")]:
        text = file.read_text(encoding="utf-8")
        named = set(re.findall(r"\b((?:tools|configs)/[\w/.-]+\.(?:py|sh))", text))
        assert [name for name in named if not (repository / name).is_file()] == [], file
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
            target = file.parent / link if link else file
            assert target.exists(), f"{file}: {link}"
            assert not anchor or anchor in anchors(target), f"{file}: {link}#{anchor}"


def test_forms_of_labels_of_photos(folder, repository):
    text = (repository / "configs/photos/README.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(json|text|python)\n(.*?)```", text, flags=re.DOTALL))
    photos = folder.path / "data/photos"
    (photos / "train.json").write_text(blocks["json"])
    for split in ("train", "val"):
        (photos / f"{split}.csv").write_text(blocks["text"])
    (folder.path / "mine.py").write_text(blocks["python"])
    cfg = read_config("mine.py", {"model.backbone.init_cfg": None})
    assert MODELS.build(cfg.model).head.num_classes == 3
    config = {"type": "JsonMultiLabel", "data_root": str(photos), "ann_file": "train.json"}
    labels = [[1, 2], [0], []]
    for dataset in (config, cfg.train_dataloader.dataset, cfg.val_dataloader.dataset):
        built = DATASETS.build({**dataset, "pipeline": []})
        assert [built.get_data_info(i)["gt_label"] for i in range(len(built))] == labels


def test_every_promise_names_its_test(repository):
    text = (repository / "tools/trust.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert len(named) > 30
    for file, test in named:
        assert f"\ndef {test}(" in (repository / "tests" / file).read_text(encoding="utf-8"), test
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    without = [row for row in rows if "::" not in row and "| test |" not in row]
    assert len(without) == 1
    assert "custom_imports" in without[0]


def test_the_readme_is_short_and_has_the_commands_and_the_picture(readme, repository):
    lines = readme.splitlines()
    assert len(lines) <= 200
    assert lines.index("```python") < 60
    assert {"bash tools/quickstart.sh", "python tools/train.py"} <= {
        " ".join(line.split()[:2]) for line in lines
    }
    assert "](.github/overview.png)" in readme
    assert (repository / ".github/overview.png").stat().st_size <= 200_000


def test_results_are_those_of_the_configs(readme, repository):
    rows = readme.partition("## Results")[2].partition("\n## ")[0].splitlines()
    numbers, source = 0, ""
    for row in (row for row in rows if row.startswith("| ") and "C-F1" not in row):
        link = re.search(r"\]\((configs/\w+/README.md)\)", row)
        if link:
            source = (repository / link[1]).read_text(encoding="utf-8")
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        scores = [cell for cell in cells[2:] if cell != "–"]
        numbers += len(scores)
        assert any(all(score in line for score in scores) for line in source.splitlines()), row
    assert numbers > 30


def test_every_method_is_named(readme, repository):
    methods = {file.stem for file in (repository / "configs/_base_/methods").glob("*.py")}
    table = readme.partition("## Methods")[2].partition("## Results")[0]
    assert methods <= set(re.findall(r"`(\w+)`", table))


def test_every_metric_is_described(repository):
    text = (repository / "tools/README.md").read_text(encoding="utf-8")
    sample = dict(pred_label=[0, 1], gt_label=[1], pred_score=[0.5, 0.6, 0.1], sequence=[0, 1, 0])
    metric = LabelSetMetric(num_classes=3)
    metric.process({}, [sample])
    for name in metric.evaluate(1):
        stem = name.removeprefix("set/").replace("example_", "_")
        assert re.search(rf"`(?:\w*{stem})`", text), name
