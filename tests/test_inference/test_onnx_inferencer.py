"""The file that predicts without PyTorch: its pictures, its parameters and its errors."""

import json
import subprocess
import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason="export needs pip install 'mmorderless[export]'")
onnx = import_module("onnx")
reader = import_module("mmorderless.inference.onnx_inferencer")  # it imports onnxruntime


@pytest.fixture
def file(tmp_path) -> Path:
    """A graph without labels, that copies its images, with the metadata that reading needs."""
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["B", 3, 4, 6])
    copied = onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.UINT8, ["B", 3, 4, 6])
    node = onnx.helper.make_node("Identity", ["images"], ["tokens"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "copy", [value], [copied]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "foreign.onnx")
    metadata = dict(classes=[], parameters=dict(threshold=0.5, no_repeat=False), attention=False)
    metadata.update(emits="classes", size=[4, 6], min_side=None)
    onnx.helper.set_model_props(model, {"mmorderless": json.dumps(metadata)})
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_resizing_is_that_of_opencv():
    rng = np.random.default_rng(0)
    for height, width, new_height, new_width in rng.integers(1, 90, (60, 4)).tolist():
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for size in ((new_height, new_width), (2 * height, width), (height, width)):
            assert np.array_equal(reader.resize(image, *size), cv2.resize(image, size[::-1]))


def test_an_image_that_cannot_be_used_is_named(file, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(encoded.getvalue()[:500])
    cv2.imwrite(str(tmp_path / "deep.png"), picture.astype(np.uint16))
    exported = reader.OnnxInferencer(file)
    for image, message in (
        (tmp_path / "cut.jpg", r"image /.*cut\.jpg \(500 bytes\) is truncated or not an image"),
        (b"text", r"image 1 \(4 bytes\) is truncated or not an image"),
        (tmp_path / "deep.png", r"image /.*deep\.png has more than 8 bits"),
        (Image.new("I;16", (4, 4)), "image 1 has more than 8 bits"),
    ):
        with pytest.raises(ValueError, match=message):
            exported([picture, image])
    for array in (picture / 255, picture[:0], picture[..., :1]):
        with pytest.raises(ValueError, match="image 1: an array must be uint8"):
            exported([picture, array])
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        exported([picture, tmp_path / "missing.jpg"])


def test_a_parameter_is_one_number(file):
    exported = reader.OnnxInferencer(file)
    for value in (None, [0.5, 0.5], float("inf")):
        with pytest.raises(ValueError, match="threshold must be one finite number"):
            exported([], threshold=value)
    with pytest.raises(ValueError, match="no parameter beta; choose from threshold, no_repeat"):
        exported([], beta=1)
    with pytest.raises(ValueError, match="--attention"):
        exported([], return_attention=True)


def test_a_file_that_is_no_exported_model_is_one_line(file, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:-9])
    for name in ("missing", "cut"):
        with pytest.raises(ValueError, match=rf"{name}\.onnx cannot be loaded"):
            reader.OnnxInferencer(tmp_path / f"{name}.onnx")
    command = [sys.executable, reader.__file__, "foreign.onnx", "photo.jpg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    error = "error: foreign.onnx has no metadata of mmorderless; write it by tools/export.py"
    assert done.stderr.strip() == error
