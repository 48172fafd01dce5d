"""Processes of a distributed run: port, GPU and, on CPUs, the process group."""

import os
import socket

import pytest
import torch
from torch import distributed

from mmorderless.runs import distributed as prepared
from mmorderless.runs.distributed import prepare_processes


def test_a_launcher_without_its_environment_is_an_error(monkeypatch):
    for launcher, variable in [("pytorch", "RANK"), ("slurm", "SLURM_PROCID")]:
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ValueError, match=f"needs the environment variable {variable}; start"):
            prepare_processes(launcher)


@pytest.mark.parametrize(
    "launcher, environment",
    [
        ("slurm", dict(SLURM_PROCID="0", SLURM_NTASKS="1", SLURM_NODELIST="localhost")),
        ("mpi", dict(OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="1", MASTER_ADDR="localhost")),
        ("pytorch", dict(RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost")),
    ],
)
def test_each_launcher_joins_a_gloo_group(launcher, environment, monkeypatch):
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, "")  # so that monkeypatch restores what the launcher sets
        monkeypatch.delenv(variable)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for variable, value in {**environment, "MASTER_PORT": str(port)}.items():
        monkeypatch.setenv(variable, value)
    prepare_processes(launcher)
    try:
        assert (distributed.get_backend(), distributed.get_world_size()) == ("gloo", 1)
    finally:
        distributed.destroy_process_group()


def test_without_a_launcher_no_process_group_is_made():
    prepare_processes("none")
    assert not distributed.is_initialized()


@pytest.fixture
def on_gpus(monkeypatch):
    """Return a function that prepares a process on a machine with GPUs and returns what it set."""

    def prepare(launcher: str, gpus: int, **environment: str) -> dict[str, str]:
        monkeypatch.setattr(prepared, "get_device", lambda: "cuda")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(os, "environ", dict(environment))
        prepare_processes(launcher)
        changed = os.environ.items() - environment.items()
        return dict(changed)

    return prepare


def test_slurm_jobs_and_steps_get_ports_of_their_own(on_gpus):
    def port(**job):
        return int(on_gpus("slurm", 8, SLURM_LOCALID="3", **job)["MASTER_PORT"])

    ports = [port(SLURM_JOB_ID=str(9_999_998 + job)) for job in range(5)]
    ports.append(port(SLURM_JOB_ID="9999998", SLURM_STEP_ID="1"))
    assert len(set(ports)) == 6
    assert all(1024 < port < 32768 for port in ports)
    assert on_gpus("slurm", 8, SLURM_JOB_ID="5", MASTER_PORT="1234") == {}


def test_a_gpu_bound_to_each_process_is_its_first(on_gpus):
    assert on_gpus("slurm", 1, SLURM_LOCALID="3") == dict(SLURM_LOCALID="0")
    variable = "OMPI_COMM_WORLD_LOCAL_RANK"
    assert on_gpus("mpi", 1, **{variable: "3"}) == {variable: "0"}
    assert on_gpus("slurm", 8, SLURM_LOCALID="3") == {}
    assert on_gpus("pytorch", 2, LOCAL_RANK="1") == {}


@pytest.mark.parametrize(
    "launcher, variable, gpus", [("pytorch", "LOCAL_RANK", 1), ("slurm", "SLURM_LOCALID", 2)]
)
def test_more_processes_than_gpus_are_an_error(on_gpus, launcher, variable, gpus):
    message = rf"^process 2 of this machine \({variable}, .*: {gpus} visible; start at most {gpus} "
    with pytest.raises(ValueError, match=message):
        on_gpus(launcher, gpus, **{variable: "2"})
