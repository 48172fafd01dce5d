"""Configs keep the settings that the paper states."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import get_mmcls_models, get_torchvision_models
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.backbones.model_hub import weights_address
from mmorderless.models.losses.aligned import STRATEGIES
from mmorderless.runs.methods import apply_method

# The rows of the paper's comparison of orderings, besides BCE, and the options that turn PLA's
# config into them.
ROWS = {
    **{strategy: dict(method=strategy) for strategy in STRATEGIES},
    "pla_attention": {"model.head.decoder.attention_size": 512},
}


@pytest.fixture(scope="module")
def configs(repository):
    return {path.stem: path for path in (repository / "configs").glob("[!_]*/*.py")}


@pytest.fixture(scope="module")
def read(configs):
    """A shipped config by its name; the rows of the ablation are options of PLA's."""

    def read(name):
        options = {f"{row}_vgg16_coco_ablation": options for row, options in ROWS.items()}
        cfg = Config.fromfile(configs["pla_vgg16_coco_ablation" if name in options else name])
        cfg.merge_from_dict(options.get(name, {}))
        apply_method(cfg)
        return cfg

    return read


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
        return [f"{row}_{name}" for row in ("bce", *ROWS)]
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
            decoder = head.decoder
            assert (decoder.hidden_size, decoder.embed_size) == (512, 256)
            assert head.max_steps == max_steps
            without_attention = "ablation" in name and "attention" not in name
            assert decoder.attention_size == (None if without_attention else 512)
            assert decoder.dropout == 0.5
            row = name.removesuffix(f"_{experiment}")
            strategy = (row if row in ROWS else "pla").removesuffix("_attention")
            assert head.loss == STRATEGIES[strategy]


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
            assert optimizer == dict(type="Adam", lr=1e-5, fused=True)
            assert cfg.param_scheduler.type == "ReduceOnPlateauLR"
            assert cfg.train_cfg.max_epochs == 5
            assert cfg.model.type == "LabelSetClassifier"
            assert cfg.model.freeze_encoder
        else:
            assert optimizer == dict(type="Adam", lr=1e-3, fused=True)
            assert cfg.optim_wrapper.constructor == "MergedGroupsConstructor"
            assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
            assert cfg.param_scheduler == dict(type="SawtoothLR")
            assert cfg.default_hooks.swa == dict(type="SWAHook")
            assert cfg.train_cfg.max_epochs == (15 if is_ablation else 30)


def test_acfs_takes_the_authors_steps(read):
    """Two steps of SGD on their loss, a sum over the classes, with their rate and decay."""
    cfg = read("acfs_resnet101_coco")
    cfg.merge_from_dict({"model.head.in_channels": 4, "model.backbone.init_cfg": None})
    assert cfg.train_dataloader.dataset.pipeline == cfg.test_pipeline
    assert cfg.model.scale * 288 == 256
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (24, 14)
    assert cfg.param_scheduler == dict(type="StepLR", step_size=6, gamma=0.1)
    share = torch.rand(80)
    cfg.model.head.loss.positive_share = share.tolist()
    head = MODELS.build(cfg.model.head).double()
    views = [torch.randn(4, 4, side, side, dtype=torch.double) for side in (9, 8)]
    views = [torch.nn.Parameter(view) for view in views]  # in place of the backbone
    truth = torch.zeros(2, 80, dtype=torch.double)
    truth[0, [3, 5]] = truth[1, 79] = 1
    samples = [DataSample().set_gt_label(row.nonzero()[:, 0]) for row in truth]

    def ours():
        return sum(head.consistency_loss(views, samples).values())

    def theirs():
        logits = torch.cat([head(view) for view in views])
        target = truth.repeat(4, 1)
        weight = torch.where(target > 0, torch.exp(1 - share), torch.exp(share))
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, weight, reduction="sum"
        )
        maps = [torch.einsum("cd,bdhw->bchw", head.fc.weight.detach(), view) for view in views]
        flips = sum(((x[:2] - x[2:].flip(-1)) ** 2).mean() for x in maps)
        large, small = (torch.nn.functional.interpolate(x, (72, 72)) for x in maps)
        return entropy / 8 + 0.6 * flips + 0.8 * ((large - small) ** 2).mean()

    settings = dict(cfg.optim_wrapper.optimizer)
    assert settings.pop("type") == "SGD"
    weights = [*head.parameters(), *views]
    start, ends = [weight.detach().clone() for weight in weights], []
    for loss, options in (
        (ours, settings),
        (theirs, dict(lr=1e-3, momentum=0.9, weight_decay=5e-4)),
    ):
        for weight, value in zip(weights, start):
            weight.data.copy_(value)
        optimizer = torch.optim.SGD(weights, **options)
        for _ in range(2):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        ends.append([weight.detach().clone() for weight in weights])
    assert not any(map(torch.equal, start, ends[0]))
    torch.testing.assert_close(ends[0], ends[1])


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
    assert cfg.optim_wrapper.constructor == "MergedGroupsConstructor"
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.type, cosine.type) == ("LinearLR", "CosineAnnealingLR")
    assert warm_up.end == cosine.begin == 1
    assert cfg.train_cfg.max_epochs == 30
    # Google's weights of ViT expect inputs from −1 to 1.
    mean = [127.5] * 3 if "vit" in name else [123.675, 116.28, 103.53]
    assert cfg.data_preprocessor.mean == mean


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
