"""Prepare the processes of a distributed run: port, device and, on CPUs, the process group."""

import os
import re
import subprocess

import torch
from mmengine.device import get_device
from torch import distributed

RANK = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""Environment variable that holds the rank of a process."""

LOCAL_RANK = {
    "pytorch": "LOCAL_RANK",
    "slurm": "SLURM_LOCALID",
    "mpi": "OMPI_COMM_WORLD_LOCAL_RANK",
}
"""Environment variable from which mmengine takes the number of a process's GPU."""


def is_first_process(launcher: str) -> bool:
    """Return whether this is the first process of a run, whether or not the processes have met.

    Args:
        launcher: none, pytorch, slurm or mpi.
    """
    if distributed.is_initialized():
        return distributed.get_rank() == 0
    return launcher == "none" or os.environ.get(RANK[launcher], "0") == "0"


def prepare_processes(launcher: str) -> None:
    """Prepare this process of a distributed run for mmengine; nothing to do for `none`.

    - Slurm: the port depends on the job, so that two jobs on a node do not collide. MASTER_PORT, if
      set, takes precedence.
    - CUDA: the process gets the GPU of its number on the machine, or the only visible one if
      Slurm or MPI has bound a GPU to each process.
    - CPU: the process group is created (gloo); mmengine would call `torch.cuda.set_device`, which
      it skips when a process group exists.

    Args:
        launcher: none, pytorch, slurm or mpi.

    Raises:
        ValueError: the launcher's environment variables are missing, or there are fewer GPUs than
            processes.
    """
    if launcher == "none" or distributed.is_initialized():
        return
    if launcher == "slurm" and "SLURM_JOB_ID" in os.environ:
        os.environ.setdefault("MASTER_PORT", str(_slurm_port()))
    if get_device() == "cuda":
        _choose_gpu(launcher)
    elif get_device() == "cpu":
        _start_gloo(launcher)


def _slurm_port() -> int:
    """Return a port that depends on job and step, below those that Linux gives out (32768)."""
    job, step = int(os.environ["SLURM_JOB_ID"]), int(os.environ.get("SLURM_STEP_ID", "0"))
    return 10_000 + (job + 1000 * step) % 20_000


def _choose_gpu(launcher: str) -> None:
    variable, visible = LOCAL_RANK[launcher], torch.cuda.device_count()
    number = int(os.environ.get(variable, "0"))
    if number < visible:
        return
    if visible == 1 and launcher != "pytorch":  # torchrun binds no GPU
        os.environ[variable] = "0"
        return
    raise ValueError(
        f"process {number} of this machine ({variable}, counted from 0) has no GPU of its own: "
        f"{visible} visible; start at most {visible} per machine, or check CUDA_VISIBLE_DEVICES"
    )


def _start_gloo(launcher: str) -> None:
    try:
        if launcher == "slurm":
            _set_rank(RANK[launcher], "SLURM_NTASKS", "SLURM_LOCALID")
            os.environ.setdefault("MASTER_ADDR", _first_slurm_host())
        elif launcher == "mpi":
            _set_rank(RANK[launcher], "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")
        os.environ.setdefault("MASTER_PORT", "29500")
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        os.environ["MASTER_ADDR"]
    except KeyError as missing:
        raise ValueError(
            f"--launcher {launcher} needs the environment variable {missing.args[0]}; start it "
            "with tools/dist_train.sh or tools/slurm_train.sh, or use --launcher none"
        ) from missing
    distributed.init_process_group("gloo", rank=rank, world_size=world_size)


def _set_rank(rank: str, world_size: str, local_rank: str) -> None:
    """Copy a launcher's environment variables to those that PyTorch reads."""
    os.environ["RANK"] = os.environ[rank]
    os.environ["WORLD_SIZE"] = os.environ[world_size]
    os.environ["LOCAL_RANK"] = os.environ.get(local_rank, "0")


def _first_slurm_host() -> str:
    names = os.environ["SLURM_NODELIST"]
    if not re.search(r"[\[,]", names):
        return names
    command = ["scontrol", "show", "hostnames", names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
