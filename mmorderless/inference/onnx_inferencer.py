"""Predict label sets with a model that tools/export.py wrote, without PyTorch and OpenMMLab.

This file needs onnxruntime, NumPy and Pillow alone, and nothing of its package, whose import loads
PyTorch: copy it to where the model is used::

    from onnx_inferencer import OnnxInferencer

    OnnxInferencer("model.onnx")("photo.jpg", end_bias=1.0)[0]["names"]

or run it: python onnx_inferencer.py model.onnx photo.jpg
"""

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

Picture = str | os.PathLike | bytes | np.ndarray | Image.Image


class OnnxInferencer:
    """Predict the labels of images; the results are those of `OrderlessInferencer`.

    Args:
        file: path of the ONNX file.
        batch_size: images per run of the graph.
        providers: onnxruntime's execution providers; None takes the CPU.

    Attributes:
        classes: class names.
        parameters: default of each operating parameter: `end_bias`, `no_repeat` and
            `stop_threshold` of a sequence model, `theta` of known sets, or `threshold`.

    Raises:
        ValueError: the file is missing or damaged, or was not written by tools/export.py.
    """

    def __init__(
        self, file: str | os.PathLike, batch_size: int = 32, providers: Sequence[str] | None = None
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of parameters that have defaults
        try:
            self.session = onnxruntime.InferenceSession(
                os.fspath(file), options, providers or ["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common class
            raise ValueError(f"{file} cannot be loaded: {error}") from error
        saved = self.session.get_modelmeta().custom_metadata_map
        if "mmorderless" not in saved:
            raise ValueError(f"{file} has no metadata of mmorderless; write it by tools/export.py")
        self.metadata: dict[str, Any] = json.loads(saved["mmorderless"])
        self.classes: list[str] = self.metadata["classes"]
        self.parameters: dict[str, float | bool] = self.metadata["parameters"]
        self.batch_size = batch_size

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        return_attention: bool = False,
        **parameters: float | bool,
    ) -> list[dict[str, Any]]:
        """Predict the labels of images.

        Args:
            images: a path, the bytes of an image file, a picture of Pillow, an array (uint8,
                (H, W, 3) BGR or (H, W) gray), or a list of these.
            return_attention: whether to add the attention maps, which the file must have.
            **parameters: operating parameters other than those of the file.

        Returns:
            A dict per image, in the order given; see `OrderlessInferencer`.

        Raises:
            ValueError: a parameter is unknown or no number, there is no attention, or an image is
                damaged.
            OSError: an image cannot be read.
        """
        listed: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
        if unknown := parameters.keys() - self.parameters.keys():
            raise ValueError(
                f"the model has no parameter {', '.join(sorted(unknown))}; choose from "
                f"{', '.join(self.parameters) or 'none'}"
            )
        names = ["tokens", "probabilities", "scores"] + ["attention"] * return_attention
        if return_attention and not self.metadata["attention"]:
            raise ValueError("the file has no attention maps; export it with --attention")
        feed = {}
        for name, value in parameters.items():
            is_flag = isinstance(self.parameters[name], bool)
            feed[name] = np.array(value, bool if is_flag else np.float32)
            if feed[name].ndim or not np.isfinite(feed[name]):
                raise ValueError(f"{name} must be one finite number, got {value!r}")
        results: list[dict[str, Any]] = []
        for start in range(0, len(listed), self.batch_size):
            batch = [
                (os.fspath(image) if isinstance(image, str | os.PathLike) else number, image)
                for number, image in enumerate(listed[start : start + self.batch_size], start)
            ]
            feed["images"] = np.stack([self.prepare(image, name) for name, image in batch])
            for (name, _), *outputs in zip(batch, *self.session.run(names, feed)):
                results.append({"image": name, **self._result(*outputs)})
        return results

    def prepare(self, image: Picture, name: str | int = "") -> np.ndarray:
        """Return an image (`name` in errors) as the graph takes it: RGB, uint8, (3, H, W)."""
        if isinstance(image, np.ndarray):
            pixels = np.stack([image] * 3, 2) if image.ndim == 2 else image[..., ::-1]
        else:
            pixels = self._read(image, name)
        is_rgb = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        if not (is_rgb and pixels.size):
            raise ValueError(
                f"image {name}: an array must be uint8, (H, W, 3) BGR or (H, W) gray, got "
                f"{pixels.dtype} of shape {pixels.shape}; convert it first"
            )
        return np.ascontiguousarray(resize(pixels, *self.metadata["size"]).transpose(2, 0, 1))

    def _read(self, image: Any, name: str | int) -> np.ndarray:
        """Decode a file or convert a picture, upright, uint8 RGB, shape (H, W, 3)."""
        is_deep = False
        if not isinstance(image, Image.Image):
            content = image if isinstance(image, bytes) else Path(image).read_bytes()
            try:
                with Image.open(io.BytesIO(content)) as opened:
                    is_deep = any(f";16{order}" in str(opened.tile) for order in "BLN")
                    least = self.metadata["min_side"]
                    if least is not None:  # libjpeg reduces large photos while it decodes
                        sides = opened.size
                        for divisor in (8, 4, 2):
                            if min(-(-side // divisor) for side in sides) >= least:
                                opened.draft(None, tuple(side // divisor for side in sides))
                                break
                    opened.load()
                    image = opened
            except Exception as error:  # Pillow raises many types
                raise ValueError(
                    f"image {name} ({len(content)} bytes) is truncated or not an image; "
                    "copy or download it again"
                ) from error
        if is_deep or image.mode[0] in "IF":
            raise ValueError(f"image {name} has more than 8 bits per sample; convert it")
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))

    def _result(
        self, tokens: np.ndarray, probabilities: np.ndarray, scores: np.ndarray, *maps: np.ndarray
    ) -> dict[str, Any]:
        """Turn the outputs of an image, (T,), (T,), (C,) and (T, h, w), into a result."""
        length = int((np.append(tokens, len(scores)) == len(scores)).argmax())
        emitted, p = tokens[:length].tolist(), probabilities[:length].tolist()
        of_label = dict(zip(reversed(emitted), reversed(p)))  # at the first emission
        labels = list(dict.fromkeys(emitted))
        is_sequence = self.metadata["emits"] == "sequence"
        if self.metadata["emits"] == "classes":
            labels.sort()
        result = {
            "labels": labels,
            "names": [self.classes[label] for label in labels],
            "probabilities": [of_label[label] for label in labels],
            "sequence": emitted if is_sequence else None,
            "sequence_probabilities": p if is_sequence else None,
            "scores": scores.tolist(),
        }
        if is_sequence and "stop_threshold" not in self.parameters:
            result["end_probability"] = float(np.append(probabilities, 1)[length])
        if maps:
            result["attention"] = maps[0][:length]
        return result


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image (H, W, 3) bilinearly, bit for bit as OpenCV does with 8-bit images.

    Weights have 11 bits, a sum over a row loses 4 bits, and one over a column 16 and then 2.
    """
    last_row, last_column = image.shape[0] - 1, image.shape[1] - 1
    columns, weights = _neighbors(last_column + 1, width)
    beyond = (columns[0] < 0) | (columns[1] > last_column)  # there the border's pixel alone counts
    weights = np.where(beyond, [[2048], [0]], weights)
    pixels = image[:, columns.clip(0, last_column)].astype(np.int32)  # (H, 2, width, 3)
    sums = (pixels * weights[..., None]).sum(1) >> 4
    rows, weights = _neighbors(last_row + 1, height)
    taken = sums[rows.clip(0, last_row)]  # (2, height, width, 3)
    return (((taken * weights[..., None, None] >> 16).sum(0) + 2) >> 2).astype(np.uint8)


def _neighbors(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two pixels around each new one, possibly beyond the border, and their weights.

    Both have shape (2, new); the weights are integers that add up to 2,048.
    """
    place = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    share = place - first.astype(np.float32)
    weights = np.rint(np.stack([1 - share, share]) * np.float32(2048)).astype(np.int32)
    return np.stack([first, first + 1]), weights


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python onnx_inferencer.py MODEL.onnx IMAGE...")
    try:
        for found in OnnxInferencer(sys.argv[1])(sys.argv[2:]):
            print(json.dumps(found))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
