"""Describe the machine that measurements are made on, and time what it does."""

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
    """Describe device, data type, threads and package versions of a measurement.

    Args:
        device: device of the models.
        dtype: data type that they compute in.
    """
    name = cpu_name() if device.type == "cpu" else torch.cuda.get_device_name(device)
    hosts = ("mmengine", "mmcv", "mmcv-lite", "mmpretrain")
    packages = ("torch", "numpy", "scipy", "opencv-python", "opencv-python-headless", *hosts)
    versions = {"mmorderless": __version__, "python": platform.python_version()}
    for package in (*packages, *(f"onedl-{host}" for host in hosts)):
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


def cpu_name() -> str:
    """Return the name of the CPU."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class Marks:
    """Points in time by name: CUDA events, which do not block the host, or the host's clock.

    Args:
        device: device whose work is timed.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._times: dict[str, Any] = {}

    def mark(self, name: str) -> None:
        """Record the current time under a name, replacing an earlier one."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._times[name] = event
        else:
            self._times[name] = time.perf_counter()

    def between(self, start: str, end: str) -> float:
        """Return the milliseconds from one mark to another."""
        first, second = self._times[start], self._times[end]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return first.elapsed_time(second)
        return 1000 * (second - first)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_environment(max_workers: int) -> dict[str, str]:
    """Return the environment variables of processes that share the machine's cores."""
    threads = max(1, usable_cores() // max_workers)
    return {"OMP_NUM_THREADS": str(threads), **os.environ}


def measurement_conditions(variables: Mapping[str, str]) -> dict[str, str | None]:
    """Return the conditions, apart from model and batch, that times depend on.

    Args:
        variables: environment variables of the process that measures.
    """
    machine = f"{cpu_name()}, {os.cpu_count()} cores"
    return {"machine": machine, "omp_num_threads": variables.get("OMP_NUM_THREADS")}
