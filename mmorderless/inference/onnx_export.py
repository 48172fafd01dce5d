"""Write a trained model as an ONNX file that says how images are prepared and what comes out."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmorderless.inference.images import inference_pipeline
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.onnx_graph import OPSET, GraphOutputs, LabelSetGraph
from mmorderless.runs.files import replacing
from mmorderless.version import __version__

TOLERANCE = 1e-4
"""Largest difference between the probabilities of two libraries that is rounding."""

COMPARED = ("probabilities", "end_probability", "scores", "attention")


def export_onnx(inferencer: OrderlessInferencer, file: Path, with_attention: bool = False) -> None:
    """Write the model of an inferencer as an ONNX file.

    Inputs are `images` (uint8, RGB, shape (B, 3, H, W)) and the operating parameters, which have
    defaults; outputs those of `GraphOutputs`. The key `mmorderless` of the metadata is JSON.

    Args:
        inferencer: holds the model, on the CPU, its classes and its config.
        file: where to write.
        with_attention: whether the graph has the attention maps.

    Raises:
        ImportError: a package that exports is missing.
        ValueError: the head, its decoding or the test pipeline cannot be exported; the scores are
            not finite, or not as many as the class names.
    """
    try:
        import onnx
        from onnxscript import optimizer
    except ImportError as error:
        raise ImportError(f"{error}; run pip install 'mmorderless[export]'") from error
    images = images_of(inferencer)
    graph = LabelSetGraph(inferencer.model, with_attention).eval().requires_grad_(False)
    black = np.zeros((*images["size"], 3), np.uint8)
    inferencer(black, progress=False)  # raises if the scores are not finite, or not one per class
    parameters = {name: torch.tensor(value) for name, value in graph.defaults.items()}
    example = torch.zeros((2, 3, *images["size"]), dtype=torch.uint8)
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it reports attributes of torch's
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own code
        exported = torch.export.export(
            graph,
            (example, parameters),
            dynamic_shapes={
                "images": {0: torch.export.Dim("batch", min=1)},
                "parameters": dict.fromkeys(parameters),
            },
            strict=False,
        )
        program = torch.onnx.export(
            exported,
            dynamo=True,
            optimize=False,  # a sixth faster, but an export of 25 steps takes 2.5 times as long
            opset_version=OPSET,
            input_names=["images", *parameters],
            output_names=list(GraphOutputs._fields[: 3 + with_attention]),
            custom_translation_table=translations(),
            verbose=False,
        )
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    for name, value in parameters.items():  # an input with an initializer has a default
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))
    metadata = {
        "classes": inferencer.classes,
        "emits": graph.emits,
        "parameters": graph.defaults,
        "attention": with_attention,
        **images,
        "versions": {"mmorderless": __version__, "torch": torch.__version__, "opset": OPSET},
    }
    onnx.helper.set_model_props(model, {"mmorderless": json.dumps(metadata, ensure_ascii=False)})
    with replacing(file) as unfinished:
        onnx.save(model, unfinished)


def translations() -> dict[Any, Callable]:
    """Return ONNX forms of PyTorch's operators that its exporter lacks, or whose forms overflow."""
    from onnxscript import opset18 as op

    def sort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        """Sort stably: TopK takes the first of equal values first."""
        size = op.Gather(op.Shape(values), [dim])
        return op.TopK(values, size, axis=dim, largest=int(descending))

    def log_sigmoid(x: Any) -> Any:
        """Return log σ(x) as −log(1 + e^−x); the exporter's log(σ(x)) is −∞ from −18 on."""
        return op.Neg(op.Softplus(op.Neg(x)))

    def logaddexp(x: Any, y: Any) -> Any:
        """Return log(e^x + e^y) as max(x, y) + log(1 + e^−|x − y|)."""
        return op.Add(op.Max(x, y), op.Softplus(op.Neg(op.Abs(op.Sub(x, y)))))

    aten = torch.ops.aten
    return {
        aten.sort.stable: sort,
        aten.log_sigmoid.default: log_sigmoid,
        aten.logaddexp.default: logaddexp,
    }


def images_of(inferencer: OrderlessInferencer) -> dict[str, Any]:
    """Return how images are prepared, as the metadata has it.

    Returns:
        `size`, (H, W) of the graph's input; `min_side` of `LoadImage`; `channels`, the order of the
        input's; and `mean` and `std`, which the graph subtracts and divides by.

    Raises:
        ValueError: the test pipeline does more than to load and resize.
    """
    load, steps = inference_pipeline(inferencer.config)
    names = [type(step).__name__ for step in steps.transforms]
    resize = next(iter(steps.transforms), None)
    if (
        names != ["Resize", "PackInputs"]
        or (load.color_type, load.imdecode_backend) != ("color", "cv2")
        or (resize.backend, resize.interpolation) != ("cv2", "bilinear")
        or resize.scale is None
        or resize.keep_ratio
    ):
        raise ValueError(
            f"the test pipeline (LoadImage, {', '.join(names)}) cannot be exported; it must be "
            "LoadImage, Resize with scale=(width, height) and no other option, and PackInputs: "
            "change test_dataloader.dataset.pipeline"
        )
    preprocessor = inferencer.model.data_preprocessor
    normalization = {
        name: getattr(preprocessor, name).flatten().tolist() if hasattr(preprocessor, name) else []
        for name in ("mean", "std")
    }
    size = [int(side) for side in resize.scale[::-1]]
    return {"size": size, "min_side": load.min_side, "channels": "RGB", **normalization}


def compare(
    expected: list[dict[str, Any]], results: list[dict[str, Any]]
) -> tuple[int, dict[str, float]]:
    """Compare results of two inferencers on the same images.

    Returns:
        The number of images with other labels or sequences, and the largest absolute difference of
        `scores`, and of the other values over the other images.
    """
    other, largest = 0, dict.fromkeys(COMPARED, 0.0)
    for one, two in zip(expected, results):
        differs = any(one[key] != two[key] for key in ("labels", "sequence"))
        other += differs
        for name in largest:
            if name in one and not (differs and name != "scores"):
                difference = np.max(np.abs(np.subtract(one[name], two[name])), initial=0)
                largest[name] = float(np.maximum(largest[name], difference))  # NaN, too
    return other, largest
