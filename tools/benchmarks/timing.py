"""Time calls side by side."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmorderless.runs.machine import synchronise

LEAST_SECONDS = 0.02
"""A sample lasts at least this long; faster calls are repeated within it."""

Call = Callable[[], Any]


def alternate(
    calls: Mapping[str, Call], device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Time several calls in turn, A B A B …, so that a busy machine hits all alike.

    Args:
        calls: by name; each is called once to warm up.
        device: what to wait for at the end of a sample.
        repeats: samples of each.

    Returns:
        By name the samples, in milliseconds a call.
    """
    loops = {}
    for name, call in calls.items():
        seconds = _seconds(call, 1, device)  # fills workspaces and caches
        if seconds < 1:  # so much that the first call may mislead
            seconds = max(_seconds(call, 1, device), 1e-9)
        loops[name] = max(1, math.ceil(LEAST_SECONDS / seconds))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            seconds = _seconds(call, loops[name], device)
            samples[name].append(1000 * seconds / loops[name])
    return samples


def synchronisations(call: Call) -> int:
    """Count how often a call makes the host wait for CUDA (as PyTorch's debug mode finds them)."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def _seconds(call: Call, loops: int, device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    for _ in range(loops):
        call()
    synchronise(device)
    return time.perf_counter() - start
