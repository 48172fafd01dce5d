"""The machine that measurements are made on, and its clock."""

import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mmorderless.version import __version__


def describe_machine(device: torch.device, dtype: str) -> dict[str, Any]:
    """Say what the measurements were made on.

    Args:
        device: where the models are.
        dtype: what they compute in.
    """
    name = processor() if device.type == "cpu" else torch.cuda.get_device_name(device)
    packages = ("torch", "numpy", "scipy", "opencv-python", "opencv-python-headless")
    versions = {"mmorderless": __version__, "python": platform.python_version()}
    for package in (*packages, *_host_packages()):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "device": str(device),
        "device_name": name,
        "dtype": dtype,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def _host_packages() -> list[str]:
    names = ("mmengine", "mmcv", "mmcv-lite", "mmpretrain")
    return [*names, *(f"onedl-{name}" for name in names)]


def processor() -> str:
    """Name of the CPU, as Linux tells it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def synchronise(device: torch.device) -> None:
    """Wait until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Marks:
    """Moments within a call: CUDA events, which nothing waits for, or the host's clock.

    Args:
        device: whose work is timed.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._moments: dict[str, Any] = {}

    def mark(self, name: str) -> None:
        """Note the moment, or note it again."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._moments[name] = event
        else:
            self._moments[name] = time.perf_counter()

    def between(self, start: str, end: str) -> float:
        """Milliseconds from one moment to another."""
        first, second = self._moments[start], self._moments[end]
        if self.device.type == "cuda":
            synchronise(self.device)
            return first.elapsed_time(second)
        return 1000 * (second - first)


def environment(max_workers: int) -> dict[str, str]:
    """Return the variables of processes that share the machine's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = max(1, (cores or 1) // max_workers)
    return {"OMP_NUM_THREADS": str(threads), **os.environ}


def surroundings(variables: Mapping[str, str]) -> dict[str, str | None]:
    """Return what times depend on besides the model and its batch.

    Args:
        variables: of the environment of the process that measures.
    """
    machine = f"{processor()}, {os.cpu_count()} cores"
    return {"machine": machine, "omp_num_threads": variables.get("OMP_NUM_THREADS")}
