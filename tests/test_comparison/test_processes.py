import os
import signal
import subprocess
import sys
import time

import pytest

from mmorderless.comparison.processes import Job, Step, as_clock, run_jobs, seconds_left, tail

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


def test_steps_in_order_a_failure_stops_its_job_alone(job, tmp_path):
    bad = job("bad", "print('one')", "import sys; print('two'); sys.exit(3)", "print('three')")
    good = job("good", "print('one')", "print('two')")
    display = Display()
    assert run_jobs([bad, good], 1, os.environ, display) == [bad]
    assert display.codes == {"bad": 3, "good": 0}
    assert display.most == 1
    assert tail(bad.log, 5) == ["one", "two"]
    assert tail(good.log, 1) == ["two"]
    done = {file.name for file in tmp_path.iterdir() if file.suffix != ".log"}
    assert done == {"bad_0", "good_0", "good_1"}

    # The same once more: what has ended well is not done again.
    assert run_jobs([bad, good], 2, os.environ, display) == [bad]
    assert tail(bad.log, 5) == ["one", "two", "two"]
    assert tail(good.log, 5) == ["one", "two"]


def test_so_many_at_once(job):
    waits = [job(str(i), "import time; time.sleep(0.3)") for i in range(3)]
    display = Display()
    assert run_jobs(waits, 2, os.environ, display) == []
    assert display.most == 2


# The module by itself: the whole package takes seconds to import.
INTERRUPTED = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from processes import Job, Step, run_jobs
script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
folder = Path(sys.argv[1])
job = Job("a", "a", [Step([sys.executable, "-S", "-c", script], folder / "done")], folder / "log")
run_jobs([job], 1, os.environ, SimpleNamespace(progress=lambda *_: None))
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_at_work(tmp_path, repository, sign):
    folder = str(repository / "mmorderless/comparison")
    caller = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": folder},
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert caller.poll() is None
        time.sleep(0.05)
    child = int(log.read_text())
    caller.send_signal(sign)
    assert caller.wait(30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not (tmp_path / "done").exists()


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
