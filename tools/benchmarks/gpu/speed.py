"""Times of a training step of `pla_resnet101_coco`: in bf16, channels-last, on random images.

Without a GPU, the digits' model at 48×48 in fp32.
"""

import gc
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mmorderless.runs.machine import Marks

from ..models import config_of
from ..settings import Settings
from ..timing import alternate, synchronizations
from ..train_step import Steps, TrainingSteps
from .workers import Conditions

MODELS: dict[str, dict[str, Any]] = {
    "BCE": {"method": "bce"},
    "PLA": {},
    "PLA graphed": {"model.head.decoder.graphed": True},
}
CHANNELS_LAST = {"model.type": "LabelSetClassifier", "model.channels_last": True}
WARM_UP, REPEATS, OPERATIONS = 6, 12, 1000


def launch(conditions: Conditions) -> dict[str, Any]:
    """What an operation costs that has next to nothing to compute, launched alone or in a graph."""
    zeros = torch.zeros(64, device=conditions.device)

    def operate() -> None:
        for _ in range(OPERATIONS):
            zeros.add_(1)

    operate()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operate()
    times = alternate({"launched alone": operate, "in a graph": graph.replay}, 5)
    return {name: 1000 * median(samples) / OPERATIONS for name, samples in times.items()}


def step_32(conditions: Conditions) -> dict[str, Any]:
    """A training step with 32 images, or 4 on a CPU."""
    return training_step(conditions, 4 if conditions.quick else 32)


def step_128(conditions: Conditions) -> dict[str, Any]:
    """A training step with 128 images, or 6 on a CPU."""
    return training_step(conditions, 6 if conditions.quick else 128)


def training_step(conditions: Conditions, batch: int) -> dict[str, Any]:
    """Time steps of PLA and, beside it, of BCE and of PLA with `graphed=True`.

    Args:
        conditions: device.
        batch: images of a step.
    """
    dtype = "fp32" if conditions.quick else "bf16"
    settings = Settings(torch.device(conditions.device), dtype, quick=conditions.quick)
    torch.backends.cudnn.benchmark = True  # as in the configs
    found: dict[str, Any] = {"B": batch}
    for name, options in MODELS.items():
        if conditions.quick and "graphed" in name:
            continue
        try:
            values = measure(settings, options, batch, parts=name != "BCE")
        except torch.cuda.OutOfMemoryError:
            found[name] = "does not fit into the GPU's memory"
        else:
            found |= {f"{name} {quantity}": value for quantity, value in values.items()}
        release_memory()
    return found


def release_memory() -> None:
    """Free the models measured before, which are in reference cycles, and PyTorch's cache."""
    gc.collect()
    torch.cuda.empty_cache()


def measure(settings: Settings, options: dict[str, Any], batch: int, parts: bool) -> dict[str, Any]:
    """Measure steps of one model.

    Args:
        settings: device and type.
        options: of the config, by dotted key.
        batch: images of a step.
        parts: whether the parts of a step are timed, too.
    """
    on_gpu = settings.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    cfg, side = config_of(settings, CHANNELS_LAST | options)
    steps = (TrainingSteps if parts else Steps)(cfg, side, batch, settings)
    values = times_of(steps, REPEATS if on_gpu else 1)
    values["images/s"] = round(1000 * batch / values["ms"])
    values["optimizer groups"] = len(steps.optim_wrapper.optimizer.param_groups)
    if on_gpu:
        values["GB"] = torch.cuda.max_memory_allocated() / 1e9
        values["waits"] = synchronizations(steps.run)
        values["launches"] = count_launches(steps)
    return values


def times_of(steps: Steps, repeats: int) -> dict[str, Any]:
    """Return the median ms of a step and, where parts are timed, of each; the head's share in %."""
    for _ in range(WARM_UP if repeats > 1 else 1):
        steps.run()
    if not isinstance(steps, TrainingSteps):
        return {"ms": median(time_of(steps) for _ in range(repeats))}
    samples = [steps.ours() for _ in range(repeats)]
    values = {f"{part} ms": median(sample[part] for sample in samples) for part in samples[0]}
    head = [
        (sample["head"] + steps.share_of_parameters * sample["optimizer"]) / sample["whole"]
        for sample in samples
    ]
    return {"ms": values.pop("whole ms"), **values, "head's share (%)": 100 * median(head)}


def time_of(steps: Steps) -> float:
    """Return the milliseconds of a step."""
    marks = Marks(steps.settings.device)
    marks.mark("start")
    steps.run()
    marks.mark("end")
    return marks.between("start", "end")


def count_launches(steps: Steps) -> int:
    """Return how many kernels and graphs the host launches in a step."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        steps.run()
        torch.cuda.synchronize()
    kinds = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch")
    return sum(event.count for event in profiled.key_averages() if event.key.startswith(kinds))
