"""What the configs state of the paper, and what is told of them in README.md and metafile.yml."""

import re

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.runner.checkpoint import get_mmcls_models, get_torchvision_models
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.model_hub import weights_address

SIX = ("CP", "CR", "CF1", "OP", "OR", "OF1")
PER_IMAGE = ("example_precision", "example_recall", "example_F1", "example_accuracy")
ORDER = ("duplicates", "rigidness")

# Tables 4 to 7, by the last stage.
RECIPE = {
    "pla_vgg16_coco_finetune": (73.72, 63.18, 68.05, 78.25, 68.76, 73.20),
    "pla_resnet101_coco_finetune": (80.38, 68.85, 74.17, 81.46, 73.26, 77.14),
    "pla_resnet152_coco_finetune": (75.32, 69.62, 72.36, 76.85, 73.97, 75.38),
    "pla_vgg16_nuswide_finetune": (60.67, 52.40, 56.23, 71.96, 72.79, 72.37),
    "pla_resnet101_wider_finetune": (81.69, 75.87, 78.67, 84.99, 81.36, 83.13),
    "pla_resnet50_pa100k_finetune": (88.50, 86.67, 87.58, 79.83),
}
# Tables 2 and 1.
ABLATION = {
    "bce": ((68.05, 59.15, 63.29, 72.20, 65.77, 68.84), None),
    "frequent_first": ((70.27, 56.49, 62.63, 72.15, 64.53, 68.13), (23.84, 100)),
    "rare_first": ((65.68, 61.32, 63.43, 70.82, 64.73, 67.64), (29.61, 100)),
    "dictionary": ((70.98, 55.86, 62.52, 74.14, 62.35, 67.74), (32.90, 100)),
    "random": (None, (57.86, 67.00)),
    "mla": ((68.37, 60.39, 64.13, 72.16, 66.71, 69.33), (0.10, 82.87)),
    "pla": ((68.66, 60.54, 64.34, 72.67, 66.89, 69.66), (0.04, 80.25)),
    "pla_attention": ((70.18, 61.96, 65.81, 73.75, 67.74, 70.62), None),
}


def paper():
    """The paper's numbers by config and metric."""
    numbers = {
        name: dict(zip(SIX if len(row) == 6 else PER_IMAGE, row)) for name, row in RECIPE.items()
    }
    for row, (scores, order) in ABLATION.items():
        found = dict(zip(SIX, scores or ())) | dict(zip(ORDER, order or ()))
        numbers[f"{row}_vgg16_coco_ablation"] = found
    return numbers


@pytest.fixture(scope="module")
def configs(repository):
    return {path.stem: path for path in (repository / "configs").glob("[!_]*/*.py")}


@pytest.fixture(scope="module")
def read(configs):
    """A shipped config by its name."""
    return lambda name: Config.fromfile(configs[name])


# What the paper states --------------------------------------------------------------------------

# Backbone, its depth or architecture, size of the images, classes, most steps, weights.
STATED = {
    "vgg16_coco": ("VGG", 16, 288, 80, 20, "mmcls://vgg16"),
    "resnet101_coco": ("ResNet", 101, 288, 80, 20, "torchvision://resnet101"),
    "resnet152_coco": ("ResNet", 152, 224, 80, 20, "torchvision://resnet152"),
    "vgg16_nuswide": ("VGG", 16, 224, 81, 82, "mmcls://vgg16"),
    "resnet101_wider": ("ResNet", 101, 224, 14, 15, "torchvision://resnet101"),
    "resnet50_pa100k": ("ResNet", 50, 224, 26, 27, "torchvision://resnet50"),
    "vgg16_coco_ablation": ("VGG", 16, 288, 80, 20, "mmcls://vgg16"),
}


def of_experiment(name):
    """Configs of an experiment: its stages or, of the ablation, its rows."""
    if name.endswith("ablation"):
        return [f"{row}_{name}" for row in ABLATION]
    return [f"bce_{name}", f"pla_{name}", f"pla_{name}_finetune"]


@pytest.mark.parametrize("experiment", STATED)
def test_what_the_paper_states_of_an_experiment(experiment, read):
    kind, depth, size, num_classes, max_steps, weights = STATED[experiment]
    for name in of_experiment(experiment):
        cfg = read(name)
        backbone, head = cfg.model.backbone, cfg.model.head
        assert (backbone.type, backbone.depth) == (kind, depth)
        assert backbone.init_cfg.checkpoint == weights
        assert backbone.get("norm_cfg") is None or kind != "VGG"  # without batch norm
        assert head.num_classes == cfg.data_preprocessor.num_classes == num_classes
        for split in ("train", "val", "test"):
            loader = cfg[f"{split}_dataloader"]
            steps = {step.type: step for step in loader.dataset.pipeline}
            assert steps["Resize"].scale == (size, size)
            assert loader.batch_size == 32
        assert cfg.auto_scale_lr == dict(base_batch_size=32)
        if name.startswith("bce"):
            assert head.loss == dict(type="MeanBCELoss")
            assert cfg.model.neck.type == "GlobalAveragePooling"
        else:
            assert (head.hidden_size, head.embed_size, head.max_steps) == (512, 256, max_steps)
            without_attention = "ablation" in name and "attention" not in name
            assert head.attention_size == (None if without_attention else 512)
            assert head.dropout == 0.5
            row = name.removesuffix(f"_{experiment}")
            assert head.strategy == (row if row in ABLATION else "pla").removesuffix("_attention")


@pytest.mark.parametrize("experiment", [*STATED, "lite0_photos"])
def test_the_papers_schedule(experiment, read):
    is_ablation = experiment.endswith("ablation")
    for name in of_experiment(experiment):
        cfg = read(name)
        optimizer = cfg.optim_wrapper.optimizer
        augmented = {step.type for step in cfg.train_pipeline} > {"torchvision/RandomAffine"}
        assert augmented == (not is_ablation)
        assert cfg.get("val_split") == (0.1 if is_ablation else None)
        assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 32
        if name.startswith("bce"):
            assert optimizer == dict(type="SGD", lr=0.01, momentum=0.9)
            assert cfg.param_scheduler.type == "ReduceOnPlateauLR"
            assert cfg.train_cfg.max_epochs == (20 if is_ablation else 40)
            assert cfg.hand_over == "best"
        elif name.endswith("finetune"):
            assert optimizer == dict(type="Adam", lr=1e-5)
            assert cfg.param_scheduler.type == "ReduceOnPlateauLR"
            assert cfg.train_cfg.max_epochs == 5
            assert cfg.model.type == "LabelSetClassifier"
            assert cfg.model.freeze_encoder
        else:
            assert optimizer == dict(type="Adam", lr=1e-3, fused=True)
            assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
            assert cfg.param_scheduler == dict(type="SawtoothLR")
            assert cfg.default_hooks.swa == dict(type="SWAHook")
            assert cfg.train_cfg.max_epochs == (15 if is_ablation else 30)


# Channels of the backbone's last map and cells along its side; the first is the paper's.
MAPS = {
    "pla_vgg16_coco": (512, 9),
    "pla_resnet50_voc2007": (2048, 7),
    "pla_convnext_tiny_coco": (768, 9),
    "pla_swin_tiny_coco": (768, 9),
    "pla_vit_base_coco": (768, 18),
}


@pytest.mark.parametrize("name", [name for name in MAPS if not name.startswith("pla_vgg16")])
def test_one_stage_schedule(name, read):
    cfg = read(name)
    assert cfg.optim_wrapper.optimizer == dict(type="AdamW", lr=1e-4, weight_decay=0.05, fused=True)
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.type, cosine.type) == ("LinearLR", "CosineAnnealingLR")
    assert warm_up.end == cosine.begin == 1
    assert cfg.train_cfg.max_epochs == 30
    # Google's weights of ViT expect inputs from −1 to 1.
    mean = [127.5] * 3 if "vit" in name else [123.675, 116.28, 103.53]
    assert cfg.data_preprocessor.mean == mean


@pytest.mark.parametrize("num_classes", [80, 5])
def test_bce_loss_is_the_mean_over_entries(read, num_classes):
    """Whatever number of classes a user sets."""
    cfg = read("bce_resnet101_coco")
    cfg.merge_from_dict({"model.head.num_classes": num_classes})
    head = MODELS.build(cfg.model.head)
    feats = torch.randn(3, 2048)
    labels = [[0, 3], [], [num_classes - 1]]
    samples = [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in labels]
    target = torch.zeros(3, num_classes)
    for row, y in zip(target, labels):
        row[y] = 1
    expected = torch.nn.functional.binary_cross_entropy_with_logits(head((feats,)), target)
    torch.testing.assert_close(head.loss((feats,), samples)["loss"], expected)


@pytest.mark.parametrize("name", MAPS)
def test_full_backbones_give_the_map_that_the_head_expects(name, read):
    cfg = read(name)
    channels, cells = MAPS[name]
    size = cfg.test_pipeline[1].scale[0]
    cfg.model.backbone.init_cfg = None
    backbone = MODELS.build(cfg.model.backbone).to("meta")  # shapes without the arithmetic
    feature_map = backbone(torch.empty(1, 3, size, size, device="meta"))[-1]
    assert feature_map.shape == (1, channels, cells, cells)
    assert cfg.model.head.in_channels == channels


def test_weights_are_named_by_addresses_that_exist(configs, read):
    """Not whether the files are still there: nothing is downloaded."""
    for name in configs:
        init_cfg = read(name).model.backbone.get("init_cfg")
        if init_cfg is None:
            continue
        scheme, model = init_cfg.checkpoint.split("://")
        if scheme == "torchvision":
            assert model in get_torchvision_models()
            assert "prefix" not in init_cfg  # the file holds the backbone alone
            continue
        assert init_cfg.prefix == "backbone"
        if scheme == "mmcls":
            assert get_mmcls_models()[model].startswith("https://")
        elif scheme == "mmpretrain":
            assert weights_address(model).startswith("https://")
        else:
            assert (scheme, model) == ("efficientnet-lite0", "imagenet")


# What is told of the configs --------------------------------------------------------------------


@pytest.fixture(scope="module")
def readme(repository):
    return (repository / "configs/README.md").read_text(encoding="utf-8")


def test_every_config_is_in_the_readme(configs, readme):
    links = re.findall(r"\[(\w+)\]\(\w+/(\w+)\.py\)", readme)
    assert sorted(target for _, target in links) == sorted(configs)
    assert all(text == target for text, target in links)
    commands = set(re.findall(r"configs/(?:\w+/)?(\w+)\.py", readme))
    assert commands <= set(configs)


@pytest.mark.parametrize("name", paper())
def test_the_readme_has_the_papers_numbers(name, readme):
    (row,) = [line for line in readme.splitlines() if f"/{name}.py)" in line]
    assert "| not run |" in row
    found = [float(number) for number in re.findall(r"(?<=\| )\d+\.\d\d(?= \|)", row)]
    assert found == list(paper()[name].values())


@pytest.mark.parametrize("name", paper())
def test_a_config_states_the_papers_main_numbers(name, configs):
    """In its first lines; so does stage 2."""
    short = {"CF1": "C-F1", "OF1": "O-F1", "example_F1": "F1", "example_accuracy": "accuracy"}
    for stem in {name, name.removesuffix("_finetune")}:
        text = configs[stem].read_text(encoding="utf-8").split('"""')[1]
        assert "Here: not run" in text
        for metric, number in paper()[name].items():
            if metric in short or metric in ORDER:
                shown = "100" if number == 100 else f"{number:.2f}"
                assert f"{short.get(metric, metric)} {shown}" in text


def test_a_config_says_how_to_run_it_and_what_came_out(configs):
    for path in configs.values():
        text = path.read_text(encoding="utf-8").split('"""')[1]
        assert f"python tools/train.py configs/{path.parent.name}/{path.name}" in text
        assert re.search(r"Here: (not run|README\.md, Results\.)", text), path


def test_the_metafile_tells_of_every_config(configs, repository):
    content = yaml.safe_load((repository / "configs/metafile.yml").read_text(encoding="utf-8"))
    (collection,) = content["Collections"]
    assert (repository / collection["README"]).is_file()
    assert sorted(model["Name"] for model in content["Models"]) == sorted(configs)
    told = {}
    for model in content["Models"]:
        assert model["In Collection"] == collection["Name"]
        assert repository / model["Config"] == configs[model["Name"]]
        text = configs[model["Name"]].read_text(encoding="utf-8").split('"""')[1]
        command = model["Metadata"]["Command"]
        assert command.startswith(f"python tools/train.py {model['Config']}")
        assert command in text
        assert f"Hardware: {model['Metadata']['Hardware']}." in text
        for result in model.get("Results", []):
            assert result["Task"] == "Multi-Label Classification"
            assert result["Dataset"] == model["Metadata"]["Training Data"]
            assert model["Metadata"]["Measured Here"] == "not run"
            told[model["Name"]] = result["Metrics"]
    assert told == {
        name: {f"{metric} (paper)": number for metric, number in numbers.items()}
        for name, numbers in paper().items()
    }
