"""Every shipped config trains, validates and predicts, on small data in the official layout."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from scipy.io import savemat

from mmorderless.datasets import mirflickr
from mmorderless.datasets.cached_features import write_split
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.runs.config import read_config
from mmorderless.runs.launch import build_runner, training_config
from mmorderless.runs.options import parse_training_options
from mmorderless.runs.trained_model import build_model

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(FOLDER.glob("[!_]*/*.py"))
METHODS = sorted(path.stem for path in (FOLDER / "_base_/methods").glob("*.py"))
# Every config, and on the digit scenes every method that has no config of its own there.
RUNS = [(config, None) for config in CONFIGS]
RUNS += [(FOLDER / "digits/pla_digits.py", name) for name in METHODS if name not in ("bce", "pla")]
RUNS += [
    (FOLDER / "photos/pla_lite0_photos_cached.py", name)
    for name in ("bce_mlp", "class_queries", "known_sets", "pla_prompted", "pla_queries")
]
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
STAGES = ("bce_{}", "pla_{}", "pla_{}_finetune")
EXPERIMENTS = (  # each in the paper's three stages
    "vgg16_coco",
    "resnet101_coco",
    "resnet152_coco",
    "vgg16_nuswide",
    "resnet101_wider",
    "resnet50_pa100k",
    "lite0_photos",
)
NOT_IN_THE_PAPER = (
    "pla_convnext_tiny_coco",
    "pla_swin_tiny_coco",
    "pla_vit_base_coco",
    "pla_resnet50_voc2007",
    "pla_resnet50_mirflickr",
    "bce_lite0_photos_cached",
    "pla_lite0_photos_cached",
    "my_photos",
    "ms_cnn_lqp_resnet101_coco",
    "bce_resnet101_coco_224",
    "srn_resnet101_coco_attention",
    "srn_resnet101_coco_relation",
    "srn_resnet101_coco",
    "acfs_resnet101_coco",
    "deepmar_resnet50_pa100k",
    "hp_net_resnet50_pa100k_streams",
    "hp_net_resnet50_pa100k",
    "distilled_digits",
    "wsddn_vgg16_coco",
    "wsd_features_vgg16_coco",
    "wsd_student_vgg16_coco",
)


def test_these_configs_are_shipped():
    names = {stage.format(name) for name in EXPERIMENTS for stage in STAGES}
    for name in ("digits", "vgg16_coco_ablation"):
        names |= {f"bce_{name}", f"pla_{name}"}  # the other methods by an option
    assert names | set(NOT_IN_THE_PAPER) == {path.stem for path in CONFIGS}


def test_settings_for_a_gpu():
    """Adam is fused; large sets drop the last batch."""
    for config in CONFIGS:
        cfg = read_config(str(config))
        optimizer, loader = cfg.optim_wrapper.optimizer, cfg.train_dataloader
        assert optimizer.get("fused", False) == optimizer.type.startswith("Adam")
        large = config.parent.name not in ("digits", "photos", "examples")
        assert loader.get("drop_last", False) == large
        assert loader.num_workers == 8 or not large


# Small data -------------------------------------------------------------------------------------

NUM_IMAGES = 10
LABELS = [[0, 3], [1], [13], [1, 2, 4], [5], [3], [0], [2, 6], [7], [0, 1]]
NUMBERS = range(1, NUM_IMAGES + 1)


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_photos(root):
    for i in range(NUM_IMAGES):
        write_image(root / f"images/{i}.jpg")
    annotation = {
        "metainfo": {"classes": [f"class {c}" for c in range(24)]},
        "data_list": [
            {"img_path": f"images/{i}.jpg", "gt_label": labels} for i, labels in enumerate(LABELS)
        ],
    }
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(annotation))


def write_features(root):
    images = [{"img_path": f"{i}.jpg", "gt_label": labels} for i, labels in enumerate(LABELS)]
    maps = np.random.default_rng(0).random((NUM_IMAGES, 1280, 2, 2), dtype=np.float32)
    for split in ("train", "val"):
        write_split(root, split, "key", images, [f"class {c}" for c in range(24)], [maps])


def write_coco(root):
    # The 80 categories have ids with gaps, up to 90.
    ids = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
    instances = {
        "categories": [{"id": i, "name": f"category {i}"} for i in ids],
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(NUM_IMAGES)],
        "annotations": [
            {"id": 10 * i + c, "image_id": i, "category_id": ids[c], "iscrowd": 0}
            for i, labels in enumerate(LABELS)
            for c in labels
        ],
    }
    for split in ("train2014", "val2014"):
        for i in range(NUM_IMAGES):
            write_image(root / f"{split}/{i}.jpg")
        write_lines(root / f"annotations/instances_{split}.json", [json.dumps(instances)])


def write_nuswide(root):
    concepts = [f"concept{c}" for c in range(81)]
    write_lines(root / "ConceptsList/Concepts81.txt", concepts)
    write_lines(root / "ImageList/Imagelist.txt", [f"zebra\\{i}.jpg" for i in range(NUM_IMAGES)])
    for c, concept in enumerate(concepts):
        lines = [int(c in labels) for labels in LABELS]
        write_lines(root / f"Groundtruth/AllLabels/Labels_{concept}.txt", lines)
    for i in range(NUM_IMAGES):
        write_image(root / f"Flickr/zebra/{i}.jpg")


def write_wider(root):
    images = []
    for i, labels in enumerate(LABELS):
        attribute = [1 if c in labels else -1 for c in range(14)]
        person = {"attribute": attribute, "bbox": [2, 3, 20.5, 20]}
        images.append({"file_name": f"train/0--Parade/{i}.jpg", "targets": [person]})
        write_image(root / f"Image/train/0--Parade/{i}.jpg")
    names = {str(c): f"attribute {c}" for c in range(14)}
    content = json.dumps({"images": images, "attribute_id_map": names})
    for split in ("trainval", "test"):
        write_lines(root / f"Anno/wider_attribute_{split}.json", [content])


def write_pa100k(root):
    def cells(texts):
        return np.array([[text] for text in texts], dtype=object)

    content = {"attributes": cells([f"attribute {c}" for c in range(26)])}
    for start, split in enumerate(("train", "val", "test")):
        names = [f"{start * NUM_IMAGES + number:06d}.jpg" for number in NUMBERS]
        for name in names:
            write_image(root / "data" / name)
        content[f"{split}_images_name"] = cells(names)
        label = [[c in labels for c in range(26)] for labels in LABELS]
        content[f"{split}_label"] = np.array(label, dtype=np.uint8)
    savemat(root / "annotation.mat", content)


def write_mirflickr(root):
    for concept in mirflickr.CONCEPTS:
        write_lines(root / f"annotations/{concept}.txt", NUMBERS)
    for number in NUMBERS:
        write_image(root / f"mirflickr/im{number}.jpg")


def write_voc2007(root):
    for number in NUMBERS:
        write_image(root / f"JPEGImages/{number:06d}.jpg")
        found = "<object><name>dog</name><difficult>0</difficult></object>"
        text = [f"<annotation>{found}</annotation>"]
        write_lines(root / f"Annotations/{number:06d}.xml", text)
    for split in ("trainval", "test"):
        names = [f"{number:06d}" for number in NUMBERS]
        write_lines(root / f"ImageSets/Main/{split}.txt", names)


WRITERS = {
    "CocoMultiLabel": write_coco,
    "NusWide": write_nuswide,
    "WiderAttribute": write_wider,
    "PA100K": write_pa100k,
    "MIRFlickr25k": write_mirflickr,
    "VocMultiLabel": write_voc2007,
    "JsonMultiLabel": write_photos,
    "CachedFeatures": write_features,
    "DigitScenes": lambda root: None,  # draws itself
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Folder of a dataset's small files; they are written when first asked for."""
    folders = {}

    def folder_of(dataset):
        if dataset not in folders:
            folders[dataset] = tmp_path_factory.mktemp(dataset)
            WRITERS[dataset](folders[dataset])
        return folders[dataset]

    return folder_of


# The walk ---------------------------------------------------------------------------------------

FEW_IMAGES = {
    "NusWide": {"num_train": NUM_IMAGES - 2},
    "MIRFlickr25k": {"numbers": (1, NUM_IMAGES)},
    "DigitScenes": {"num_scenes": NUM_IMAGES},
}
# Channels of the last map, and what makes the backbone narrow. Lite0 has no such option.
NARROW = {
    "ResNet": (64, dict(depth=18, base_channels=8, stem_channels=8)),
    "VGG": (128, dict(depth=11, num_stages=2, dilations=(1, 1), out_indices=(1,))),
    "ConvNeXt": (8, dict(arch=dict(_delete_=True, depths=[1] * 4, channels=[8] * 4))),
    "SwinTransformer": (
        64,
        dict(
            window_size=2,
            arch=dict(_delete_=True, embed_dims=8, depths=[1] * 4, num_heads=[1] * 4),
        ),
    ),
    "VisionTransformer": (
        8,
        dict(
            img_size=64,
            arch=dict(
                _delete_=True, embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8
            ),
        ),
    ),
}
SIZE = (64, 64)


def small(cfg, folder_of):
    """Options for few and small images, a narrow backbone and one step (of SWA: a cycle)."""
    averaged = "swa" in cfg.default_hooks
    batch_size = 2 if averaged else NUM_IMAGES - 2  # the smallest training set
    schedulers = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [1]
    epochs = len(schedulers)  # the cosine begins after an epoch of warm-up
    options = {
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": epochs,
        "model.backbone.init_cfg": None,
        # Figures of many classes would take longer than all the rest.
        "custom_hooks": [
            hook | dict(num_images=1) if hook.type == "LabelSetReportHook" else hook
            for hook in cfg.custom_hooks
            if hook.type != "LabelSetReportHook" or cfg.model.head.num_classes < 20
        ],
    }
    for loader in LOADERS:
        dataset = cfg[loader].dataset
        root = "cache" if dataset.type == "CachedFeatures" else "data_root"
        changed = {root: str(folder_of(dataset.type)), **FEW_IMAGES.get(dataset.type, {})}
        if dataset.type not in ("DigitScenes", "CachedFeatures"):
            changed["serialize_data"] = False  # collecting garbage for that takes long
        for i, step in enumerate(dataset.get("pipeline", [])):
            if step.type == "Resize":
                changed[f"pipeline.{i}.scale"] = SIZE
        options |= {f"{loader}.dataset.{name}": value for name, value in changed.items()}
        options[f"{loader}.num_workers"] = 0
        options[f"{loader}.batch_size"] = batch_size
    if cfg.model.backbone.type in NARROW:
        channels, changed = NARROW[cfg.model.backbone.type]
        options |= {f"model.backbone.{name}": value for name, value in changed.items()}
        options["model.head.in_channels"] = channels
        side = cfg.model.head.get("side_channels")
        if isinstance(side, int):
            options["model.head.side_channels"] = channels // 2
        elif side is not None:
            options["model.head.side_channels"] = [channels >> i for i in range(len(side), 0, -1)]
    if (cfg.model.get("neck") or {}).get("type") == "StageFusionNeck":
        options["model.neck.in_channels"] = (8, 16, 32, 64)  # of the narrow ResNet
    if "hidden_size" in cfg.model.head:
        options["model.head.hidden_size"] = 8
    return options


def small_teacher(cfg, folder_of, folder):
    """Options for an untrained teacher as small as its student."""
    path = FOLDER.parent / cfg.model.teacher.config
    teacher = read_config(path, small(Config.fromfile(path), folder_of))
    files = dict(config=str(folder / "teacher.py"), checkpoint=str(folder / "teacher.pth"))
    teacher.dump(files["config"])
    torch.save(dict(state_dict=build_model(teacher).state_dict()), files["checkpoint"])
    return {"model.teacher": files}


def run(config, options, work_dir):
    """Train as tools/train.py does; options may be any Python values."""
    args = parse_training_options([str(config), "--work-dir", str(work_dir)])
    # mmengine names a run after its second, and two runs of a name share the best score.
    args.cfg_options = options | {"experiment_name": work_dir.name}
    build_runner(training_config(args)).train()


@pytest.fixture
def no_formatting(monkeypatch):
    """Configs are written down as they come: yapf takes a third of a small run's time."""
    for user in ("yapf.yapflib.yapf_api", "mmengine.config.config"):
        name = f"{user}.FormatCode"
        monkeypatch.setattr(name, lambda text, **_: (text, True), raising=False)


@pytest.mark.slow_except(
    "bce_digits-None",
    "pla_digits-None",
    "my_photos-None",
    "pla_resnet101_coco-None",
    "pla_swin_tiny_coco-None",
    "pla_vgg16_nuswide-None",
    "bce_lite0_photos_cached-None",
    "pla_digits-csra",
    "pla_digits-mla_transformer",
    "pla_digits-ria",
)
@pytest.mark.usefixtures("no_formatting")
@pytest.mark.parametrize(
    "config, method", RUNS, ids=lambda value: value.stem if isinstance(value, Path) else value
)
def test_config_trains_validates_and_predicts(config, method, folder_of, tmp_path):
    shipped = Config.fromfile(config)
    assert dict(type="LabelSetReportHook") in shipped.custom_hooks
    options = small(shipped, folder_of) | {"method": method}
    if "teacher" in shipped.model:
        options |= small_teacher(shipped, folder_of, tmp_path)
    run(config, options, tmp_path)
    cfg = Config.fromfile(tmp_path / config.name)
    file = tmp_path / f"epoch_{cfg.train_cfg.max_epochs}.pth"
    checkpoint = torch.load(file, weights_only=False)
    classes = checkpoint["meta"]["dataset_meta"]["classes"]
    assert cfg.model.head.num_classes == len(classes) == cfg.data_preprocessor.num_classes
    reports = list(tmp_path.glob("*/label_sets/val_epoch_*/cooccurrence.png"))
    assert len(reports) == (len(classes) < 20)
    assert list(tmp_path.glob("best_set_OF1_epoch_*.pth"))
    if "swa" in cfg.default_hooks:
        assert checkpoint["swa"]["updates"] >= 4
        assert checkpoint["swa"]["count"] == 1
    if cfg.model.backbone.type == "FeaturePassThrough":
        return  # its inputs are no images
    inferencer = OrderlessInferencer(cfg, file)
    result = inferencer(np.zeros((50, 50, 3), np.uint8), progress=False)[0]
    assert len(result["scores"]) == len(classes)
    emits = cfg.model.head.type in ("OrderlessRNNHead", "KnownSetsHead")
    assert (result["sequence"] is not None) == emits


@pytest.mark.slow
@pytest.mark.usefixtures("no_formatting")
def test_the_last_stage_trains_the_decoder_alone(repository, folder_of, tmp_path):
    """Three stages in a row; batch norm's statistics belong to the encoder."""
    states, start = [], None
    for stage in STAGES:
        config = repository / f"configs/pa100k/{stage.format('resnet50_pa100k')}.py"
        options = small(Config.fromfile(config), folder_of) | {"load_from": start}
        run(config, options, tmp_path / config.stem)
        start = str(tmp_path / config.stem / "epoch_1.pth")
        states.append(torch.load(start, weights_only=False)["state_dict"])
    averaged, tuned = states[1:]
    changed = {name for name in tuned if not torch.equal(tuned[name], averaged[name])}
    assert {name.split(".")[0] for name in changed} == {"head"}
    log = next((tmp_path / "pla_resnet50_pa100k").glob("*/*.log")).read_text()
    assert re.search(r"Load checkpoint from \S*/bce_resnet50_pa100k/epoch_1\.pth", log)


def test_the_short_path_is_the_config_in_coco(repository):
    short, full = (repository / f"configs/{path}pla_resnet101_coco.py" for path in ("", "coco/"))
    for options in ({}, {"method": "ria"}):
        assert read_config(short, options).to_dict() == read_config(full, options).to_dict()


@pytest.mark.slow
def test_real_coco_photos_take_training_steps(repository, shared_data, tmp_path):
    """ResNet-101 and the decoder as configured, on real COCO files (a smaller picture)."""
    config = repository / "configs/coco/pla_resnet101_coco.py"
    options = {
        "model.backbone.init_cfg": None,
        "train_cfg.max_epochs": 1,
        "train_dataloader.batch_size": 2,
        "default_hooks.checkpoint.interval": -1,
        "default_hooks.checkpoint.save_best": None,
    }
    for loader, split in zip(LOADERS, ("train", "val", "val")):
        changed = dict(
            data_root=str(shared_data / "coco_sub"),
            ann_file=f"annotations/instances_{split}.json",
            data_prefix=dict(img_path="images"),
            indices=4,
        )
        for i, step in enumerate(Config.fromfile(config)[loader].dataset.pipeline):
            if step.type == "Resize":
                changed[f"pipeline.{i}.scale"] = (96, 96)
        options |= {f"{loader}.dataset.{name}": value for name, value in changed.items()}
        options[f"{loader}.num_workers"] = 0
    run(config, options, tmp_path)
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "no snapshot after 2 updates" in log  # so that the raw weights are validated
    scalars = next(tmp_path.glob("*/vis_data/scalars.json")).read_text().splitlines()
    assert 0 <= json.loads(scalars[-1])["set/OF1"] <= 100
