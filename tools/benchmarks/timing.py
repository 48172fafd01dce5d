"""Time calls in turn."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.benchmark import Timer

MIN_SECONDS = 0.02
"""Least duration of a sample: faster calls are repeated within it."""

Call = Callable[[], Any]


def alternate(calls: Mapping[str, Call], repeats: int) -> dict[str, list[float]]:
    """Time several calls in turn, A B A B …, so that other load on the machine affects all alike.

    Args:
        calls: the calls by name.
        repeats: samples of each call; each is preceded by a warm-up.

    Returns:
        Samples by name, in milliseconds per call.
    """
    threads = torch.get_num_threads()
    timers = {
        name: Timer("call()", globals={"call": call}, num_threads=threads)
        for name, call in calls.items()
    }
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, timer in timers.items():
            measured = timer.blocked_autorange(min_run_time=MIN_SECONDS)
            samples[name].append(1000 * measured.median)
    return samples


def synchronizations(call: Call) -> int:
    """Count how often a call makes the host wait for CUDA, as PyTorch's debug mode reports it."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)
