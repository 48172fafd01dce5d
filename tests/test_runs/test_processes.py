import os
import signal
import subprocess
import sys
import time

import pytest

from mmorderless.comparison.progress import as_clock, seconds_left, tail
from mmorderless.runs.processes import Job, Step, alone_in, run_jobs

PYTHON = [sys.executable, "-S", "-c"]


class Display:
    def __init__(self):
        self.codes = {}
        self.most = 0

    def ended(self, job, code, seconds):
        self.codes[job.name] = code

    def progress(self, running, waiting):
        self.most = max(self.most, len(running))


@pytest.fixture
def job(tmp_path):
    def make(name, *scripts):
        steps = [
            Step([*PYTHON, script], tmp_path / f"{name}_{i}") for i, script in enumerate(scripts)
        ]
        return Job(name, "kind", steps, tmp_path / f"{name}.log")

    return make


@pytest.fixture
def lock(tmp_path):
    with alone_in(tmp_path) as lock:
        yield lock


def test_steps_in_order_a_failure_stops_its_job_alone(job, lock, tmp_path):
    bad = job("bad", "print('one')", "import sys; print('two'); sys.exit(3)", "print('three')")
    good = job("good", "print('one')", "print('two')")
    display = Display()
    assert run_jobs([bad, good], 1, os.environ, display, lock) == [bad]
    assert display.codes == {"bad": 3, "good": 0}
    assert display.most == 1
    assert tail(bad.log, 5) == ["one", "two"]
    assert tail(good.log, 1) == ["two"]
    done = {
        file.name
        for file in tmp_path.iterdir()
        if file.name[:3] in ("bad", "goo") and not file.suffix
    }
    assert done == {"bad_0", "good_0", "good_1"}

    # The same once more: what has ended well is not done again.
    assert run_jobs([bad, good], 2, os.environ, display, lock) == [bad]
    assert tail(bad.log, 5) == ["one", "two", "two"]
    assert tail(good.log, 5) == ["one", "two"]


def test_so_many_at_once(job, lock):
    waits = [job(str(i), "import time; time.sleep(0.3)") for i in range(3)]
    display = Display()
    assert run_jobs(waits, 2, os.environ, display, lock) == []
    assert display.most == 2


# The module by itself: the whole package takes seconds to import.
INTERRUPTED = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from processes import Job, Step, alone_in, run_jobs
script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
folder = Path(sys.argv[1])
job = Job("a", "a", [Step([sys.executable, "-S", "-c", script], folder / "done")], folder / "log")
with alone_in(folder) as lock:
    run_jobs([job], 1, os.environ, SimpleNamespace(progress=lambda *_: None), lock)
"""


@pytest.fixture
def interrupted(tmp_path, repository):
    """A process that runs a job in a folder, and the job's process."""
    caller = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repository / "mmorderless/runs")},
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert caller.poll() is None
        time.sleep(0.05)
    return caller, int(log.read_text())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_at_work(tmp_path, interrupted, sign):
    caller, child = interrupted
    caller.send_signal(sign)
    assert caller.wait(300) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not (tmp_path / "done").exists()
    with alone_in(tmp_path):
        pass


def test_a_folder_is_taken_until_the_last_process_of_a_killed_comparison_has_ended(
    tmp_path, interrupted
):
    caller, child = interrupted
    caller.kill()
    caller.wait(300)
    try:
        refused = pytest.raises(ValueError, match="what a killed one left at work, works in")
        with refused, alone_in(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 300
    while True:  # init reaps the child at any moment now
        try:
            with alone_in(tmp_path):
                break
        except ValueError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_time_left_by_hand():
    known = {"bce": [10.0, 20.0], "pla": [30.0]}
    assert seconds_left(known, [("bce", 5.0)], ["pla", "pla"], 1) == 10 + 60
    assert seconds_left(known, [("bce", 5.0), ("pla", 29.0)], ["pla"], 2) == 30  # no job is shared
    assert seconds_left(known, [], ["new"], 1) == (15 + 30) / 2
    assert seconds_left(known, [("bce", 99.0)], [], 1) == 0  # longer than expected
    assert seconds_left({}, [("bce", 5.0)], ["pla"], 1) is None
    assert as_clock(1870.4) == "00:31:10"


def test_the_end_of_a_log_without_what_a_progress_bar_wrote_over(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"a\n\n1/2\r2/2\r\nerror: \xff\n")
    assert tail(file, 2) == ["2/2", "error: \ufffd"]
    assert tail(file, 9) == ["a", "2/2", "error: \ufffd"]
