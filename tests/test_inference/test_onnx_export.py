"""An exported model predicts what the PyTorch model predicts, and needs no PyTorch."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image
from torch.nn.functional import interpolate, logsigmoid

from mmorderless.commands.export import main
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.onnx_export import TOLERANCE, compare, export_onnx, translations
from mmorderless.inference.onnx_graph import OPSET

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="export needs pip install 'mmorderless[export]'")
reader = import_module("mmorderless.inference.onnx_inferencer")  # it imports onnxruntime
OnnxInferencer = reader.OnnxInferencer

CLASSES = ("ant", "bee", "cat", "dog", "elk")
SIZES = dict(hidden_size=8, embed_size=4, attention_size=8)
QUERIES = dict(hidden_size=8, query_size=4)
BCE = dict(type="MeanBCELoss")


def sequence(decoder: str, loss: str = "PLALoss", decoding=None, **sizes) -> dict:
    decoder = dict(type=decoder, **{**SIZES, **sizes})
    return dict(
        type="OrderlessRNNHead",
        max_steps=4,
        decoder={name: value for name, value in decoder.items() if value is not None},
        loss=dict(type=loss),
        decoding=decoding,
    )


HEADS = {
    "pla": sequence("AttentionLSTM"),
    "gru": sequence("AttentionGRU"),
    "transformer": sequence("TransformerLabelDecoder", num_layers=1, num_heads=2),
    "order_free": sequence(
        "OrderFreeRNN", "OrderFreeLoss", dict(stop_threshold=0.4, no_repeat=True), embed_size=None
    ),
    "joint": sequence("JointEmbeddingRNN", attention_size=None),
    "semantic": sequence("SemanticRNN", attention_size=None),
    "pla_queries": sequence(
        "ClassQueryLSTM", attention_size=None, class_hidden_size=8, query_size=4
    ),
    "known_sets": dict(type="KnownSetsHead", queries=QUERIES, beta=0.1),
    "class_queries": dict(type="ClassQueryHead", queries=QUERIES, loss=BCE),
    "bce": dict(type="MultiLabelLinearClsHead", loss=BCE),
    "csra": dict(type="CSRAClsHead", num_heads=2, lam=0.1, loss=BCE),
    "srn": dict(type="SRNHead", map_size=(3, 3), hidden_channels=8, loss=BCE),
    "mass": dict(type="DecidedHead", decision=dict(type="MassDecision", mass=0.9), loss=BCE),
    "count": dict(type="DecidedHead", decision=dict(type="CountDecision", widths=(8,)), loss=BCE),
    "topk": dict(type="MultiLabelLinearClsHead", topk=2, loss=BCE),
    "rarl": dict(type="GlimpseHead", hidden_size=8, num_places=2, thr=0.25, loss=BCE),
    "chain": dict(type="ChainHead", num_chains=2),
    "ctran": dict(type="CTranHead", num_layers=1),
}
POOLED = ("bce", "mass", "count", "topk", "chain")
ATTENDS = ("pla", "gru", "transformer", "order_free", "pla_queries", "known_sets", "class_queries")
MOVED = {  # other values of the operating parameters
    "order_free": dict(stop_threshold=0.6, end_bias=0.5, no_repeat=False),
    "known_sets": dict(theta=0.9),
    "rarl": dict(threshold=0.1),
    **{name: {} for name in ("mass", "count", "topk")},
    **{name: dict(threshold=0.9) for name in ("class_queries", "bce", "csra", "srn")},
    **{name: dict(threshold=0.9) for name in ("chain", "ctran")},
    **{name: dict(end_bias=3.0, no_repeat=True) for name in ("pla", "gru", "transformer")},
    **{name: dict(end_bias=3.0, no_repeat=True) for name in ("joint", "semantic", "pla_queries")},
}


def config(name: str, **head) -> Config:
    pipeline = [
        dict(type="LoadImage", min_side=24),
        dict(type="Resize", scale=(32, 24)),
        dict(type="PackInputs"),
    ]
    model = dict(
        type="ImageClassifier",
        backbone=dict(type="StridedCNN", channels=(4, 8)),
        neck=dict(type="GlobalAveragePooling") if name in POOLED else None,
        head=dict(num_classes=len(CLASSES), in_channels=8, **{**HEADS[name], **head}),
    )
    dataset = dict(type="JsonMultiLabel", ann_file="unused.json", pipeline=pipeline)
    return Config(
        dict(
            default_scope="mmpretrain",
            model=model,
            data_preprocessor=dict(mean=[120.0, 110, 100], std=[60.0, 50, 40], to_rgb=True),
            test_dataloader=dict(batch_size=2, dataset=dataset),
        )
    )


def trained(name: str, folder: Path, **head) -> OrderlessInferencer:
    """Return an inferencer whose random weights give images different sets."""
    cfg = config(name, **head)
    model = MODELS.build(cfg.model)
    model.backbone.train()
    for _ in range(40):  # the statistics of batch norm
        model.backbone(interpolate(torch.randn(32, 3, 4, 4), (24, 32), mode="bilinear"))
    for parameter in model.head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.2)
    if name == "known_sets":
        for weight in (model.head.noisy.weight, model.head.image_embedding.weight):
            weight.data.mul_(0.01)  # otherwise all images have the same set
        model.head.set_label_sets(CLASSES, [[0], [0], [1, 2], [2, 3, 4], []])
    meta = {"dataset_meta": {"classes": CLASSES}}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, folder / "weights.pth")
    cfg.dump(folder / "config.py")
    return OrderlessInferencer(cfg, folder / "weights.pth", device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Pictures of several sizes whose colors differ."""
    rng = np.random.default_rng(0)
    return [
        cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (50, 20 + i)) for i in range(32)
    ]


def move(head, values: dict) -> None:
    """Set operating parameters of a PyTorch head."""
    if "theta" in values:
        head.theta = values["theta"]
    elif "threshold" in values:
        head.thr = values["threshold"]
    elif values:
        head.decoding = replace(head.decoding, **values)


def assert_same(expected, found) -> None:
    other, largest = compare(expected, found)
    assert other == 0
    assert not {name: value for name, value in largest.items() if not value < TOLERANCE}
    assert [one.keys() for one in expected] == [two.keys() for two in found]
    assert [one["image"] for one in expected] == [two["image"] for two in found]


@pytest.mark.slow_except("pla", "bce")
@pytest.mark.parametrize("name", HEADS)
def test_a_graph_predicts_as_pytorch_does_at_any_batch_size_and_operating_point(
    name, pictures, tmp_path
):
    inferencer = trained(name, tmp_path)
    attends = name in ATTENDS
    export_onnx(inferencer, tmp_path / "model.onnx", attends)
    expected = inferencer(pictures, return_attention=attends)
    assert len({tuple(result["labels"]) for result in expected}) > 1
    for batch_size in (1, 7, 32):
        exported = OnnxInferencer(tmp_path / "model.onnx", batch_size)
        assert_same(expected, exported(pictures, return_attention=attends))
    values = MOVED[name]
    assert exported.parameters.keys() == values.keys()
    move(inferencer.model.head, values)
    moved = inferencer(pictures)
    assert_same(moved, exported(pictures, **values))
    assert not values or [r["labels"] for r in moved] != [r["labels"] for r in expected]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder with a PLA model without attention maps: config, weights and graph."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("exported")
    trained("pla", folder)
    return folder


@pytest.fixture(scope="module")
def photos(folder, pictures) -> list[str]:
    """Image files of several formats, a large one and one that is stored on its side."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8).repeat(30, 0).repeat(30, 1)
    color = Image.fromarray(blocks)
    (folder / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    color.save(folder / "photos/0_large.jpg", quality=80)
    color.save(folder / "photos/1_rotated.jpg", exif=exif)
    color.resize((41, 33)).save(folder / "photos/2_small.jpg")
    color.convert("L").save(folder / "photos/3_gray.png")
    color.convert("RGBA").save(folder / "photos/4_transparent.png")
    color.quantize(16).save(folder / "photos/5_palette.png")
    return sorted(map(str, (folder / "photos").iterdir()))


def test_the_tool_writes_a_model_that_runs_without_torch(folder, photos, tmp_path, capsys):
    files = [str(folder / name) for name in ("config.py", "weights.pth", "model.onnx")]
    with pytest.raises(ValueError, match="holds no image"):  # before a model is loaded
        main([files[0], "missing.pth", "--out", files[2], "--check", str(tmp_path)])
    assert main([*files[:2], "--out", files[2], "--check", str(folder / "photos")]) == 0
    assert f"{len(photos)} images, 0 with other labels" in capsys.readouterr().out
    code = (
        "import sys, json\n"
        "sys.modules.update(dict.fromkeys(['torch', 'cv2', 'mmengine', 'mmorderless']))\n"
        "from onnx_inferencer import OnnxInferencer\n"
        "print(json.dumps(OnnxInferencer('model.onnx')(sys.argv[1:])))"
    )
    arguments = [sys.executable, "-c", code, *photos]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert_same(OrderlessInferencer(*files[:2], device="cpu")(photos), found)


def test_pictures_are_prepared_as_the_test_pipeline_does(folder, photos, pictures):
    inferencer = OrderlessInferencer(str(folder / "config.py"), folder / "weights.pth", "cpu")
    if not (folder / "model.onnx").exists():
        export_onnx(inferencer, folder / "model.onnx")
    exported = OnnxInferencer(folder / "model.onnx")
    for image in (*photos, *pictures[:3], Path(photos[0]).read_bytes(), Image.open(photos[2])):
        seen = []
        hook = inferencer.model.data_preprocessor.register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.append(inputs[0]["inputs"][0])
        )
        inferencer(image, progress=False)
        hook.remove()
        assert np.array_equal(exported.prepare(image)[::-1], seen[0].numpy()), image


class Extremes(torch.nn.Module):
    """Operators whose plain formulas overflow, and a sort with equal values."""

    def forward(self, x):
        added = torch.logaddexp(x, x.flip(0) - 1)
        return logsigmoid(x), added, x.sort(stable=True, descending=True)[1]


def test_operators_are_exact_where_plain_formulas_overflow():
    x = torch.tensor([-300.0, -90, -20, -20, -1, 0, 1, 1, 20, 90, 300])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own code
        program = torch.onnx.export(
            Extremes(),
            (x,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            custom_translation_table=translations(),
        )
    session = reader.onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    for one, two in zip(Extremes()(x), found):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)


def test_what_cannot_be_exported_is_one_line(tmp_path):
    wrong = trained("pla", tmp_path, decoding=dict(beam_width=2))
    with pytest.raises(ValueError, match=r"model\.head\.decoding\.beam_width=1"):
        export_onnx(wrong, tmp_path / "model.onnx")
    wrong = trained("semantic", tmp_path)
    with pytest.raises(ValueError, match="does not attend"):
        export_onnx(wrong, tmp_path / "model.onnx", with_attention=True)
    wrong = trained("bce", tmp_path)
    with pytest.raises(ValueError, match="without --attention"):
        export_onnx(wrong, tmp_path / "model.onnx", with_attention=True)
    wrong.config.test_dataloader.dataset.pipeline.insert(2, dict(type="CenterCrop", crop_size=8))
    with pytest.raises(ValueError, match="Resize, CenterCrop, PackInputs"):
        export_onnx(wrong, tmp_path / "model.onnx")
    del wrong.config.test_dataloader.dataset.pipeline[2]
    wrong.classes = [*CLASSES, "fox"]
    with pytest.raises(ValueError, match="5 classes but 6 class names"):
        export_onnx(wrong, tmp_path / "model.onnx")
    wrong.model.head = MODELS.build(dict(type="LinearClsHead", num_classes=2, in_channels=8))
    with pytest.raises(ValueError, match="LinearClsHead cannot be exported"):
        export_onnx(wrong, tmp_path / "model.onnx")
    del wrong.config.test_dataloader.dataset.pipeline[1:]
    with pytest.raises(ValueError, match=r"pipeline \(LoadImage, \) cannot be exported"):
        export_onnx(wrong, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
