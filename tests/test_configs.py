"""Every shipped config trains, validates and predicts, on small data in the official layout."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmorderless.datasets.cached_features import write_split
from mmorderless.inference import OrderlessInferencer
from mmorderless.launch import train
from mmorderless.models.losses import STRATEGIES

PHOTO_LABELS = [[0, 3], [], [23], [1, 2, 3, 4], [5], [3]]


def write_images(folder, count, size=(40, 30)):
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(count):
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    write_images(root / "images", len(PHOTO_LABELS))
    annotation = {
        "metainfo": {"classes": [f"class {c}" for c in range(24)]},
        "data_list": [
            {"img_path": f"images/{i}.jpg", "gt_label": labels}
            for i, labels in enumerate(PHOTO_LABELS)
        ],
    }
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(annotation))
    return root


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    images = [{"img_path": f"{i}.jpg", "gt_label": y} for i, y in enumerate(PHOTO_LABELS)]
    maps = np.random.default_rng(0).random((len(images), 1280, 2, 2), dtype=np.float32)
    for split in ("train", "val"):
        write_split(root, split, "key", images, [f"class {c}" for c in range(24)], [maps])
    return root


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    # The 80 categories have ids with gaps, up to 90.
    ids = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
    labels = [[0, 3], [79], [1, 2, 5], [7]]
    instances = {
        "categories": [{"id": i, "name": f"category {i}"} for i in ids],
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(4)],
        "annotations": [
            {"id": 10 * i + c, "image_id": i, "category_id": ids[c], "iscrowd": 0}
            for i, classes in enumerate(labels)
            for c in classes
        ],
    }
    for split in ("train2014", "val2014"):
        write_images(root / split, 4)
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(instances))
    return root


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return tmp_path_factory.mktemp("digits")


DIGITS = [f"{strategy}_digits" for strategy in ("bce", *STRATEGIES)]
PHOTOS = ["bce_lite0_photos", "pla_lite0_photos"]
CACHED = ["bce_lite0_photos_cached", "pla_lite0_photos_cached"]
COCO = ["bce_resnet101_coco", "pla_resnet101_coco"]
NARROW_RESNET = [
    "model.backbone.depth=50",
    "model.backbone.base_channels=8",
    "model.backbone.stem_channels=8",
    "model.head.in_channels=256",
]


def test_no_config_is_forgotten(repository):
    shipped = {path.stem for path in (repository / "configs").glob("*.py")}
    assert shipped == set(DIGITS + PHOTOS + CACHED + COCO)


def data_options(name, request):
    """Where the config finds its (small) data, and what makes it small enough for a test."""
    loaders = ("train_dataloader", "val_dataloader", "test_dataloader")
    if name in DIGITS:
        root = request.getfixturevalue("digits")
        return [f"{x}.dataset.{y}" for x in loaders for y in (f"data_root={root}", "num_scenes=8")]
    if name in CACHED:
        cache = request.getfixturevalue("features")
        return [f"{x}.dataset.cache={cache}" for x in loaders]
    root = request.getfixturevalue("photos" if name in PHOTOS else "coco")
    options = [f"{x}.dataset.data_root={root}" for x in loaders]
    options += [f"{x}.dataset.pipeline.1.scale=(64,64)" for x in loaders]
    return options + ["model.backbone.init_cfg=None"]


@pytest.mark.parametrize("name", DIGITS + PHOTOS + CACHED + COCO)
def test_config_trains_validates_and_predicts(name, request, repository, tmp_path):
    config = repository / f"configs/{name}.py"
    options = data_options(name, request)
    options += [f"{x}_dataloader.num_workers=0" for x in ("train", "val", "test")]
    options += [
        "train_dataloader.batch_size=4",
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=1",
    ]
    if name in COCO:
        options += NARROW_RESNET
    train([str(config), "--work-dir", str(tmp_path), "--cfg-options", *options])
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=False)
    classes = checkpoint["meta"]["dataset_meta"]["classes"]
    cfg = Config.fromfile(tmp_path / config.name)
    assert cfg.model.head.num_classes == len(classes) == cfg.data_preprocessor.num_classes
    assert list(tmp_path.glob("*/label_sets/val_epoch_1/cooccurrence.png"))
    if name in CACHED:
        return  # its inputs are no images
    inferencer = OrderlessInferencer(cfg, tmp_path / "epoch_1.pth")
    result = inferencer(np.zeros((50, 50, 3), np.uint8), progress=False)[0]
    assert len(result["scores"]) == len(classes)
    assert (result["sequence"] is None) == name.startswith("bce")


@pytest.mark.parametrize("name", COCO)
def test_coco_configs_as_shipped(name, repository):
    """The config itself, not narrowed: what the paper states of it."""
    cfg = Config.fromfile(repository / f"configs/{name}.py")
    assert cfg.model.backbone.init_cfg == dict(
        type="Pretrained", checkpoint="torchvision://resnet101"
    )
    assert cfg.train_dataloader.batch_size == 32
    resize = [step for step in cfg.test_pipeline if step.type == "Resize"]
    assert resize == [dict(type="Resize", scale=(288, 288))]
    if name.startswith("pla"):
        sizes = ("hidden_size", "embed_size", "attention_size", "strategy")
        assert [cfg.model.head[key] for key in sizes] == [512, 256, 512, "pla"]
    else:  # the loss is the mean over B·C entries
        assert cfg.model.head.loss.loss_weight == 1 / 80


def test_bce_loss_is_the_mean_over_entries(repository):
    """Mmpretrain divides by B alone; the config's weight makes up for it."""
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample

    cfg = Config.fromfile(repository / "configs/bce_resnet101_coco.py").model.head
    head = MODELS.build(cfg)
    feats = torch.randn(3, 2048)
    labels = [[0, 5], [], [79]]
    samples = [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in labels]
    target = torch.zeros(3, 80)
    for row, y in zip(target, labels):
        row[y] = 1
    expected = torch.nn.functional.binary_cross_entropy_with_logits(head((feats,)), target)
    torch.testing.assert_close(head.loss((feats,), samples)["loss"], expected)


def test_real_coco_photos_take_training_steps(repository, shared_data, tmp_path):
    """ResNet-101 and the decoder as configured, on real COCO files (a smaller picture)."""
    root = shared_data / "coco_sub"
    options = ["model.backbone.init_cfg=None", "train_dataloader.batch_size=2"]
    for loader, split in [("train", "train"), ("val", "val"), ("test", "val")]:
        dataset = f"{loader}_dataloader.dataset"
        options += [
            f"{dataset}.data_root={root}",
            f"{dataset}.ann_file=annotations/instances_{split}.json",
            f"{dataset}.data_prefix.img_path=images",
            f"{dataset}.indices=4",
            f"{loader}_dataloader.num_workers=0",
        ]
    options += ["train_cfg.max_epochs=1"]
    splits = ("train", "val", "test")
    options += [f"{x}_dataloader.dataset.pipeline.1.scale=(96,96)" for x in splits]
    options += ["default_hooks.checkpoint.interval=-1", "default_hooks.checkpoint.save_best=None"]
    config = str(repository / "configs/pla_resnet101_coco.py")
    train([config, "--work-dir", str(tmp_path), "--cfg-options", *options])
    log = json.loads(next(tmp_path.glob("*/vis_data/scalars.json")).read_text().splitlines()[-1])
    assert 0 <= log["set/OF1"] <= 100
