"""Peak memory of a call, measured in a fresh process.

`python -m benchmarks.memory JSON` is that process.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")
ROOT = Path(__file__).parents[2]


def peak_memory(builder: str, device: torch.device, **arguments: Any) -> list[float]:
    """Measure the memory that a call adds at its peak.

    On a CPU this is the resident memory of a fresh process at its peak minus that before the call;
    on CUDA it is the allocated memory.

    Args:
        builder: `module:function` of a function that prepares and returns the call.
        device: where the call runs.
        **arguments: of that function, besides `device`; plain values.

    Returns:
        One sample, in MB (10⁶ bytes); none if the system does not report memory.
    """
    if device.type == "cpu" and not STATUS.is_file():
        return []
    job = {
        "builder": builder,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "arguments": arguments,
    }
    paths = [str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", json.dumps(job)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise OSError(f"the process that measures the memory of {builder} failed: {last}")
    return [float(done.stdout.strip().splitlines()[-1])]


def _resident(field: str) -> int:
    """Return this process's resident memory in bytes: now (VmRSS) or at its peak (VmHWM)."""
    match = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert match is not None, f"{STATUS} has no {field}"
    return 1024 * int(match[1])


def _measure(job: Mapping[str, Any]) -> float:
    """Measure a job of `peak_memory` in this process, in MB."""
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])
    module, _, function = job["builder"].partition(":")
    call = getattr(import_module(module), function)(device=device, **job["arguments"])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    before = _resident("VmRSS")
    with suppress(OSError):  # resets the peak that the preparation left
        Path("/proc/self/clear_refs").write_text("5")
    call()
    return (_resident("VmHWM") - before) / 1e6


if __name__ == "__main__":
    print(_measure(json.loads(sys.argv[1])))
