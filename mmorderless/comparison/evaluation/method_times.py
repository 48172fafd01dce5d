"""Measure the training and test time of a method (paper, Table 3).

python -m mmorderless.comparison.evaluation.method_times DIR/METHOD/seed_S DIR/METHOD/times.json

Times are milliseconds per image for one batch of the training set, the same for every method, with
the trained weights. The machine should be idle otherwise.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.device import get_device

from mmorderless.comparison.evaluation.predictions import loader_from_config
from mmorderless.comparison.evaluation.trained import TrainedRun
from mmorderless.errors import run_tool
from mmorderless.models.heads.orderless_head import OrderlessRNNHead
from mmorderless.runs.machine import Marks, measurement_conditions
from mmorderless.runs.records import write_json
from mmorderless.runs.trained_model import temporary_attributes

REPEATS = 20
MIN_REPEATS = 3
MAX_SECONDS = 30.0

TIMED_PARTS = ("training", "forward", "alignment", "backward", "test")


def time_training(model: Any, data: dict[str, Any], device: torch.device) -> dict[str, float]:
    """Time the passes of one training step, in milliseconds.

    Returns:
        training, the whole step; its parts forward (features of all views, rollout and loss
        without alignment), backward and, if the method aligns labels, alignment.
    """
    marks = Marks(device)
    alignments: list[float] = []
    aligner = model.head.loss_module if isinstance(model.head, OrderlessRNNHead) else None
    align = getattr(aligner, "align", None)

    def timed_align(*args: Any) -> Any:
        marks.mark("align")
        tokens = align(*args)
        marks.mark("aligned")
        alignments.append(marks.between("align", "aligned"))
        return tokens

    model.zero_grad()
    marks.mark("start")
    with temporary_attributes(aligner, {} if align is None else {"align": timed_align}):
        losses = model.loss(data["inputs"], data["data_samples"])
        loss = sum(value for name, value in losses.items() if "loss" in name)
    marks.mark("loss")
    loss.backward()
    marks.mark("end")
    times = {
        "training": marks.between("start", "end"),
        "forward": marks.between("start", "loss") - sum(alignments),
        "backward": marks.between("loss", "end"),
    }
    return times | ({"alignment": sum(alignments)} if alignments else {})


@torch.no_grad()
def time_test(model: Any, data: dict[str, Any], device: torch.device) -> dict[str, float]:
    """Time a prediction, in milliseconds."""
    marks = Marks(device)
    marks.mark("start")
    model.predict(data["inputs"])
    marks.mark("end")
    return {"test": marks.between("start", "end")}


def medians(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Repeat a measurement, after two calls to warm up, and return the median of each value."""
    measure()
    measure()
    end = time.monotonic() + MAX_SECONDS
    samples = []
    while len(samples) < MIN_REPEATS or (len(samples) < REPEATS and time.monotonic() < end):
        samples.append(measure())
    return {name: median(sample[name] for sample in samples) for name in samples[0]}


def device_name() -> str:
    """Return the name of the GPU that models are timed on, or the type of another device."""
    device = get_device()
    return torch.cuda.get_device_name() if device == "cuda" else device


def time_run(folder: Path) -> dict[str, Any]:
    """Measure a trained run.

    Returns:
        `ms_per_image` with training, forward, alignment (None if the method does not align),
        backward and test; `batch`, the number of images; `views`, those of each image in training;
        `backbone`, its class; `device`; `threads`, those of PyTorch; and `measurement_conditions`.
    """
    torch.manual_seed(0)
    trained = TrainedRun(folder)
    model, device = trained.model, torch.device(get_device())
    loader = loader_from_config(trained.config.train_dataloader)
    size = min(loader.batch_size, len(loader.dataset))
    batch = loader.collate_fn([loader.dataset[i] for i in range(size)])
    times: dict[str, float] = {}
    model.train()
    data = model.data_preprocessor(batch, True)
    times |= medians(lambda: time_training(model, data, device))
    model.eval()
    data = model.data_preprocessor(batch, False)
    times |= medians(lambda: time_test(model, data, device))
    return {
        "ms_per_image": {
            part: times[part] / size if part in times else None for part in TIMED_PARTS
        },
        "batch": size,
        "views": getattr(model, "num_views", 1),
        "backbone": type(model.backbone).__name__,
        "device": device_name(),
        "threads": torch.get_num_threads(),
        **measurement_conditions(os.environ),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the run in a folder and write the output file."""
    folder, out = sys.argv[1:] if argv is None else argv
    write_json(Path(out), time_run(Path(folder)))


if __name__ == "__main__":
    run_tool(main)
