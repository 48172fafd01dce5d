import time
from itertools import groupby

import pytest
import torch
from benchmarks import timing
from benchmarks.memory import STATUS, peak_memory
from benchmarks.timing import alternate

CPU = torch.device("cpu")


def test_calls_take_turns(monkeypatch):
    monkeypatch.setattr(timing, "MIN_SECONDS", 1e-9)
    calls = []
    samples = alternate(dict(a=lambda: calls.append("a"), b=lambda: calls.append("b")), 3)
    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3}
    assert [name for name, _ in groupby(calls)] == ["a", "b"] * 3


def test_a_sample_is_the_time_of_one_call():
    calls = []
    samples = alternate(dict(sleep=lambda: calls.append(time.sleep(0.002))), 2)["sleep"]
    assert len(calls) > 2 + 2  # fast calls are repeated within a sample
    assert min(samples) >= 2  # ms; sleep never ends early


ALLOCATE = """
import numpy as np


def prepare(device, megabytes, before):
    np.ones(before * 125_000)
    return lambda: np.ones(megabytes * 125_000)
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux reports a process's memory")
def test_peak_memory_excludes_the_preparation_of_the_call(tmp_path, monkeypatch):
    (tmp_path / "allocate.py").write_text(ALLOCATE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (megabytes,) = peak_memory("allocate:prepare", CPU, megabytes=100, before=300)
    assert megabytes == pytest.approx(100, abs=20)


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux reports a process's memory")
def test_a_failure_of_the_fresh_process_is_reported():
    with pytest.raises(OSError, match="memory of math:nothing failed: AttributeError"):
        peak_memory("math:nothing", CPU)
