"""Start distributed runs on CPUs."""

import os
import re
import subprocess

from mmengine.device import get_device
from torch import distributed


def start_cpu_processes(launcher: str) -> None:
    """Create the process group of a distributed run without an accelerator (gloo).

    mmengine would call `torch.cuda.set_device`, which it skips when a process group exists. Does
    nothing when there is an accelerator or the launcher is `none`.

    Args:
        launcher: none, pytorch, slurm or mpi.

    Raises:
        ValueError: the launcher's environment variables are missing.
    """
    if launcher == "none" or get_device() != "cpu" or distributed.is_initialized():
        return
    try:
        if launcher == "slurm":
            _set_rank("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
            os.environ.setdefault("MASTER_ADDR", _first_slurm_host())
        elif launcher == "mpi":
            _set_rank("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")
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
