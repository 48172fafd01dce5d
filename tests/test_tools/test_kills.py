"""Runs that are killed, or whose disk is full, at random times end as if nothing had happened.

`pytest tests/test_tools/test_kills.py --kills 100` is the campaign; the suite kills a few times.
"""

import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mmorderless.commands.compare import compare
from mmorderless.commands.train import train
from mmorderless.commands.train_stages import train_stages
from mmorderless.errors import Main, run_tool

BASE = """
_base_ = 'tiny.py'
custom_imports = dict(_delete_=True, imports=['mmorderless'], allow_failed_imports=False)
custom_hooks = [dict(type='DeterministicResumeHook'), dict(type='ValidateOnResumeHook')]
model = dict(
    backbone=dict(_delete_=True, type='StridedCNN', channels=(8, 64)),
    head=dict(in_channels=64, decoder=dict(hidden_size=128)))
"""
TRAINING = """
_base_ = 'base.py'
param_scheduler = dict(type='SawtoothLR')
default_hooks = dict(
    checkpoint=dict(interval={interval}, by_epoch={by_epoch}, max_keep_ckpts={kept},
                    save_best='set/OF1', rule='greater'),
    swa=dict(type='SWAHook'))
train_dataloader = dict(num_workers={workers}, persistent_workers=False)
"""
FIRST_STAGE = """
_base_ = 'base.py'
hand_over = 'best'
default_hooks = dict(checkpoint=dict(save_best='set/OF1', rule='greater'))
train_cfg = dict(max_epochs=2)
"""
SECOND_STAGE = """
_base_ = 'base.py'
param_scheduler = dict(type='SawtoothLR')
default_hooks = dict(swa=dict(type='SWAHook'))
"""
LAST = {True: "epoch_3.pth", False: "iter_15.pth"}  # 3 epochs of 5 batches
COMPARED = ("state_dict", "optimizer", "param_schedulers", "swa")
TIMEOUT = 300  # seconds that a run may take on a busy machine


@pytest.fixture
def folder(project, repository, monkeypatch) -> Path:
    """A user's folder with the configs' base, as the working directory."""
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    Path("base.py").write_text(BASE)
    return project.folder


def start(tool: Main, arguments: Sequence[str]) -> int:
    """Run a tool in a forked process, in a session of its own; return the process ID."""
    pid = os.fork()
    if pid:
        while os.getsid(pid) != pid:
            time.sleep(0.001)
        return pid
    try:
        os.setsid()
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        run_tool(tool, arguments)
    except SystemExit as end:
        os._exit(int(end.code))
    finally:
        os._exit(1)


def wait_for(pid: int, seconds: float = TIMEOUT) -> int | None:
    """Return a process's exit code (negative after a signal), or None after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def run_whole(tool: Main, arguments: Sequence[str]) -> float:
    """Run a tool to its end; return the seconds that it took."""
    began = time.monotonic()
    assert wait_for(start(tool, arguments)) == 0
    return time.monotonic() - began


def run_disturbed(
    tool: Main, arguments: Sequence[str], seconds: float, rng: random.Random, limit: int, most: int
) -> Counter:
    """Run a tool until it succeeds, and disturb it at random times.

    Args:
        tool: its main function.
        arguments: the same for each attempt.
        seconds: that it takes undisturbed.
        rng: draws the times and the kinds of disturbance.
        limit: bytes of its largest file.
        most: number of disturbances after which it may end.

    Returns:
        The number of disturbances by kind.
    """
    done: Counter = Counter()
    code = None
    while code != 0:
        pid = start(tool, arguments)
        code = wait_for(pid, rng.uniform(0, 1.2 * seconds))
        if code is None and done.total() < most:
            done[disturb(pid, rng, limit)] += 1
        if code is None:
            code = wait_for(pid)
        assert session_is_empty(pid), "a process outlived its parent"
        assert code in (0, 1, -signal.SIGKILL), code
    return done


def disturb(pid: int, rng: random.Random, limit: int) -> str:
    """Kill a process, alone or with its group, or let its disk be full; return which."""
    kind = rng.choice(("killed", "group killed", "disk full"))
    if kind == "killed":
        os.kill(pid, signal.SIGKILL)
        return kind
    if kind == "group killed":
        os.killpg(pid, signal.SIGKILL)
        return kind
    # No file can grow beyond the limit, which fails like a full disk. Later children inherit it.
    size = rng.randrange(limit)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
    return kind


def session_is_empty(pid: int, seconds: float = TIMEOUT) -> bool:
    """Return whether all processes of a session end within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def differences(first: object, second: object, where: str = "") -> list[str]:
    """Name the tensors and numbers that are not equal to the bit."""
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{where}: other keys"]
        return [d for key in first for d in differences(first[key], second[key], f"{where}.{key}")]
    if isinstance(first, list | tuple):
        pairs = enumerate(zip(first, second, strict=True))
        return [d for i, pair in pairs for d in differences(*pair, f"{where}[{i}]")]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else [where]


def check_equal(first: Path, second: Path) -> None:
    """Check that two checkpoints are equal to the bit, except for times and paths."""
    one, other = (torch.load(path, weights_only=True) for path in (first, second))
    for key in COMPARED:
        assert not differences(one.get(key), other.get(key), key)


@pytest.mark.slow_except("2-1-epochs-0", "1-iterations-2", "2-epochs-0")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("by_epoch", [True, False], ids=["epochs", "iterations"])
@pytest.mark.parametrize("kept", [1, 2])
def test_trainings(kept, by_epoch, workers, folder, pytestconfig):
    kills = -(-pytestconfig.getoption("kills") // 10)
    rng = random.Random(f"{kept} {by_epoch} {workers}")
    settings = dict(kept=kept, by_epoch=by_epoch, interval=1 if by_epoch else 2, workers=workers)
    Path("training.py").write_text(TRAINING.format(**settings))
    seconds = run_whole(train, ["training.py", "--work-dir", "whole"])
    expected = folder / "whole" / LAST[by_epoch]
    done: Counter = Counter()
    while done.total() < kills:
        work_dir = f"disturbed_{done.total()}"
        arguments = ["training.py", "--resume", "--work-dir", work_dir]
        limit, most = expected.stat().st_size, kills - done.total()
        done += run_disturbed(train, arguments, seconds, rng, limit, most)
        check_equal(folder / work_dir / LAST[by_epoch], expected)
    print(dict(done))


@pytest.mark.slow
def test_stages(folder, pytestconfig):
    kills = -(-pytestconfig.getoption("kills") // 10)
    Path("first.py").write_text(FIRST_STAGE)
    Path("second.py").write_text(SECOND_STAGE)
    arguments = ["first.py", "second.py", "--work-dir"]
    seconds = run_whole(train_stages, [*arguments, "whole"])
    limit = (folder / "whole/second/epoch_3.pth").stat().st_size
    rng = random.Random(0)
    done: Counter = Counter()
    while done.total() < kills:
        work_dir = f"disturbed_{done.total()}"
        most = kills - done.total()
        done += run_disturbed(train_stages, [*arguments, work_dir], seconds, rng, limit, most)
        for checkpoint in ("first/epoch_2.pth", "second/epoch_3.pth"):
            check_equal(folder / work_dir / checkpoint, folder / "whole" / checkpoint)
    print(dict(done))


@pytest.mark.slow
def test_comparisons(folder, pytestconfig):
    kills = -(-pytestconfig.getoption("kills") // 10)
    Path("compared.py").write_text(SECOND_STAGE)
    options = "--methods bce pla --seeds 0 --val-split 0.2 --epochs 2 --jobs 2 --work-dir"
    arguments = ["compared.py", *options.split()]
    seconds = run_whole(compare, [*arguments, "whole"])
    whole = sorted((folder / "whole").glob("*/seed_0/epoch_2.pth"))
    limit = max(checkpoint.stat().st_size for checkpoint in whole)
    rng = random.Random(0)
    done: Counter = Counter()
    while done.total() < kills:
        work_dir = f"disturbed_{done.total()}"
        most = kills - done.total()
        done += run_disturbed(compare, [*arguments, work_dir], seconds, rng, limit, most)
        for checkpoint in whole:
            check_equal(folder / work_dir / checkpoint.relative_to(folder / "whole"), checkpoint)
    print(dict(done))
