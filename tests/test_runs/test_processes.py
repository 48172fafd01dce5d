import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from mmorderless.runs.processes import Job, Step, exclusive, run_jobs

PYTHON = [sys.executable, "-S", "-c"]


class Watcher:
    """Collects exit codes and the largest number of jobs that ran at the same time."""

    def __init__(self):
        self.codes = {}
        self.running = set()
        self.most = 0

    def start(self, job):
        self.running.add(job.name)
        self.most = max(self.most, len(self.running))

    def end(self, job, code):
        self.running.remove(job.name)
        self.codes[job.name] = code


@pytest.fixture
def job(tmp_path):
    def make(name, *scripts):
        steps = [
            Step([*PYTHON, script], tmp_path / f"{name}_{i}") for i, script in enumerate(scripts)
        ]
        return Job(name, steps, tmp_path / f"{name}.log")

    return make


@pytest.fixture
def lock(tmp_path):
    with exclusive(tmp_path) as lock:
        yield lock


def test_steps_run_in_order_and_a_failure_stops_only_its_job(job, lock, tmp_path):
    bad = job("bad", "print('one')", "import sys; print('two'); sys.exit(3)", "print('three')")
    good = job("good", "print('one')", "print('two')")
    watcher = Watcher()
    assert run_jobs([bad, good], 1, os.environ, lock, watcher.start, watcher.end) == [bad]
    assert watcher.codes == {"bad": 3, "good": 0}
    assert watcher.most == 1
    assert bad.log.read_text().split() == ["one", "two"]
    assert good.log.read_text().split() == ["one", "two"]
    done = {
        file.name
        for file in tmp_path.iterdir()
        if file.name[:3] in ("bad", "goo") and not file.suffix
    }
    assert done == {"bad_0", "good_0", "good_1"}

    # A second call does not repeat finished steps.
    assert run_jobs([bad, good], 2, os.environ, lock, watcher.start, watcher.end) == [bad]
    assert bad.log.read_text().split() == ["one", "two", "two"]
    assert good.log.read_text().split() == ["one", "two"]


def test_at_most_max_workers_jobs_run_at_the_same_time(job, lock):
    waits = [job(str(i), "import time; time.sleep(0.3)") for i in range(3)]
    watcher = Watcher()
    assert run_jobs(waits, 2, os.environ, lock, watcher.start, watcher.end) == []
    assert watcher.most == 2


# The module by itself: the whole package takes seconds to import.
INTERRUPTED = """
import os, sys
from pathlib import Path
from processes import Job, Step, exclusive, run_jobs
script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
folder = Path(sys.argv[1])
job = Job("a", [Step([sys.executable, "-S", "-c", script], folder / "done")], folder / "log")
with exclusive(folder) as lock:
    run_jobs([job], 1, os.environ, lock, print, print)
"""


def interrupted_caller(tmp_path, repository, script):
    """Start a process that runs a job in a folder, and wait for the job's process."""
    caller = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repository / "mmorderless/runs")},
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert caller.poll() is None
        time.sleep(0.05)
    return caller, int(log.read_text())


@pytest.fixture
def interrupted(tmp_path, repository):
    """A process that runs a job in a folder, and the job's process."""
    return interrupted_caller(tmp_path, repository, INTERRUPTED)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_commands(tmp_path, interrupted, sign):
    caller, child = interrupted
    caller.send_signal(sign)
    assert caller.wait(300) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not (tmp_path / "done").exists()
    with exclusive(tmp_path):
        pass


# The command survives the first signal, and would have an hour to end.
IGNORING = INTERRUPTED.replace(
    "print(os.getpid(), flush=True)",
    "import signal; signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True)); "
    "print(os.getpid(), flush=True)",
).replace("folder =", "import processes; processes.SECONDS_TO_END = 3600\nfolder =")


def test_a_second_interruption_kills_at_once(tmp_path, repository):
    caller, child = interrupted_caller(tmp_path, repository, IGNORING)
    caller.send_signal(signal.SIGINT)
    while "term" not in (tmp_path / "log").read_text():
        assert caller.poll() is None
        time.sleep(0.05)
    caller.send_signal(signal.SIGINT)
    assert caller.wait(300) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_folder_stays_locked_until_the_last_child_of_a_killed_process_has_ended(
    tmp_path, interrupted
):
    caller, child = interrupted
    caller.kill()
    caller.wait(300)
    try:
        refused = pytest.raises(ValueError, match=f"process {caller.pid} .*left behind")
        with refused, exclusive(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 300
    while True:  # init reaps the child at any moment now
        try:
            with exclusive(tmp_path):
                break
        except ValueError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_second_process_says_who_works_in_a_folder(tmp_path, interrupted):
    caller, _ = interrupted
    before = sorted(tmp_path.iterdir())
    since = r"since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
    who = rf"^process {caller.pid} on \S+ {since}, .* writes to {tmp_path}; .*--out"
    with pytest.raises(ValueError, match=who), exclusive(tmp_path, "--out"):
        pass
    assert sorted(tmp_path.iterdir()) == before
    caller.terminate()
    caller.wait(300)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with exclusive(tmp_path) as lock:
        assert lock.fileno()
    assert f"warning: cannot lock {tmp_path} ({os.strerror(code)})" in capsys.readouterr().err


KILLED_WITH_WORKER = """
import os, sys, time
from pathlib import Path
from processes import exclusive
with exclusive(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_forked_worker_does_not_keep_the_folder_of_a_killed_process(tmp_path, repository):
    modules = {"PYTHONPATH": str(repository / "mmorderless/runs")}
    command = [sys.executable, "-S", "-c", KILLED_WITH_WORKER, str(tmp_path)]
    killed = subprocess.Popen(command, env=os.environ | modules, stdout=subprocess.PIPE, text=True)
    with killed.stdout:
        worker = int(killed.stdout.readline())
    killed.kill()
    killed.wait()
    try:
        with exclusive(tmp_path):
            os.kill(worker, 0)  # still there
    finally:
        os.kill(worker, signal.SIGKILL)
