"""Workers end with the process that started them, and are seeded as before."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import worker_init_fn
from torch.utils.data import DataLoader

import mmorderless
from mmorderless.runs.workers import _start_worker, bind_workers

ROOT = Path(mmorderless.__file__).parent

# Each sample is larger than a pipe's buffer, so that all workers wait until a batch is taken.
WAITING = """
import os, sys, time
from pathlib import Path
from torch.utils.data import DataLoader
from mmorderless.runs.workers import bind_workers

class Large:
    def __len__(self):
        return 1000

    def __getitem__(self, index):
        Path(sys.argv[1], str(os.getpid())).touch()
        return bytes(1_000_000)

loader = bind_workers(DataLoader(Large(), num_workers=4, collate_fn=list))
batches = iter(loader)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent-death signal")
def test_no_worker_outlives_a_killed_process(tmp_path, repository):
    caller = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
    )
    while len(workers := [int(file.name) for file in tmp_path.iterdir()]) < 4:
        assert caller.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)  # they fill the pipe
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 1
    while (left := [pid for pid in workers if runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent as a zombie."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent-death signal")
def test_a_worker_whose_parent_has_already_ended_ends(monkeypatch):
    class Ended(Exception):
        pass

    def leave(code):
        raise Ended

    monkeypatch.setattr("multiprocessing.parent_process", lambda: os_process(pid=1))
    monkeypatch.setattr("os.getppid", lambda: 2)
    monkeypatch.setattr("os._exit", leave)
    monkeypatch.setattr("ctypes.CDLL", lambda name: type("C", (), {"prctl": lambda *_: 0})())
    with pytest.raises(Ended):
        _start_worker(None, 0)


def os_process(pid: int):
    return type("Process", (), {"pid": pid})()


class Draws:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return np.random.rand()  # noqa: NPY002 - what transforms use


def test_workers_do_not_end_with_the_thread_that_started_them():
    with ThreadPoolExecutor() as threads:
        bind = threads.submit(bind_workers, DataLoader(range(64), num_workers=1))
        batches = threads.submit(iter, bind.result()).result()
    time.sleep(0.1)  # the thread has ended
    assert len(list(batches)) == 64


def test_workers_of_a_fork_server_start():
    loader = DataLoader(range(4), num_workers=1, multiprocessing_context="forkserver")
    assert len(list(bind_workers(loader))) == 4


def test_workers_are_seeded_by_their_own_function():
    def draws(bind):
        seeded = partial(worker_init_fn, num_workers=2, rank=1, seed=5)
        loader = DataLoader(Draws(), num_workers=2, worker_init_fn=seeded, collate_fn=list)
        return list(bind(loader))

    assert draws(bind_workers) == draws(lambda loader: loader)


def test_all_loaders_with_workers_are_bound():
    for file in ROOT.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        builds = "Runner.build_dataloader" in text or ("DataLoader(" in text and "workers" in text)
        assert not builds or "bind_workers(" in text, file
