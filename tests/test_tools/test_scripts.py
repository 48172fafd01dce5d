"""The launch scripts, with stand-ins for python and srun that print how they are called."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """Make a program that prints its arguments, one per line, and its number of threads."""
    program = tmp_path / "srun"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho "threads $OMP_NUM_THREADS"\n')
    program.chmod(0o755)
    return program


def lines(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_dist_scripts_share_the_cores_and_take_a_free_port(project, stand_in, repository):
    environment = dict(PYTHON=str(stand_in), OMP_NUM_THREADS="", MKL_NUM_THREADS="")
    called = lines(project.run("dist_train.sh", "a b.py", "2", "--resume", **environment))
    assert called[:4] == ["-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"]
    assert "--rdzv-endpoint=127.0.0.1:0" in called
    script = called.index(str(repository / "tools/train.py"))
    assert called[script + 1 : -1] == ["a b.py", "--launcher", "pytorch", "--resume"]
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert called[-1] == f"threads {threads}"

    called = lines(project.run("dist_test.sh", "a.py", "b.pth", "9999", **environment))
    script = called.index(str(repository / "tools/test.py"))
    assert called[script + 1 : -1] == ["a.py", "b.pth", "--launcher", "pytorch"]
    assert called[-1] == "threads 1"


def test_a_single_process_keeps_its_number_of_threads(project, stand_in):
    environment = dict(PYTHON=str(stand_in), OMP_NUM_THREADS="")
    assert lines(project.run("dist_train.sh", "a.py", "1", **environment))[-1] == "threads "


def test_threads_fit_the_cores_that_the_processes_may_use(project, stand_in):
    nproc = stand_in.with_name("nproc")
    nproc.write_text("#!/bin/sh\necho 12\n")
    nproc.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    environment = dict(PYTHON=str(stand_in), OMP_NUM_THREADS="", PATH=path)
    assert lines(project.run("dist_train.sh", "a.py", "2", **environment))[-1] == "threads 6"


def test_dist_scripts_read_the_environment(project, stand_in):
    environment = dict(NNODES="2", NODE_RANK="1", MASTER_ADDR="host", PORT="1234")
    called = lines(
        project.run(
            "dist_train.sh", "a.py", "4", PYTHON=str(stand_in), OMP_NUM_THREADS="3", **environment
        )
    )
    for option in ("--nnodes=2", "--node_rank=1", "--master_addr=host", "--master_port=1234"):
        assert option in called
    assert called[-1] == "threads 3"


def test_slurm_scripts(project, stand_in, repository):
    environment = dict(
        PATH=f"{stand_in.parent}:{os.environ['PATH']}",
        PYTHON="python3",
        OMP_NUM_THREADS="",
        GPUS="16",
        GPUS_PER_NODE="4",
        CPUS_PER_TASK="6",
        SRUN_ARGS="--quotatype=auto --mem=4G",
    )
    for tool, script, expected in [
        ("slurm_train.sh", "train.py", "a.py --work-dir w --launcher slurm --amp"),
        ("slurm_test.sh", "test.py", "a.py w --launcher slurm --amp"),
    ]:
        called = lines(project.run(tool, "part", "job", "a.py", "w", "--amp", **environment))
        assert called[:7] == shlex.split(
            "--partition=part --job-name=job --gres=gpu:4 --ntasks=16 --ntasks-per-node=4 "
            "--cpus-per-task=6 --kill-on-bad-exit=1"
        )
        assert called[7:9] == ["--quotatype=auto", "--mem=4G"]
        assert called[9:12] == ["python3", "-u", str(repository / "tools" / script)]
        assert called[12:-1] == expected.split()
        assert called[-1] == "threads 6"


@pytest.mark.parametrize("tool", ["dist_train", "dist_test", "slurm_train", "slurm_test"])
def test_too_few_arguments_print_the_usage(project, tool):
    done = project.run(f"{tool}.sh", "a.py")
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: bash tools/{tool}.sh ")


@pytest.mark.parametrize("nproc", ["--resume", "0", "2x", ""])
def test_invalid_number_of_processes_prints_the_usage(project, nproc):
    for command in (["dist_train.sh", "a.py"], ["dist_test.sh", "a.py", "b.pth"]):
        done = project.run(*command, nproc, "--amp")
        assert done.returncode == 2
        assert done.stderr.startswith(f"usage: bash tools/{command[0]} CONFIG ")
        assert done.stderr.endswith(f"NPROC is the number of processes, got '{nproc}'\n")
        assert done.stderr.count("\n") == 1


# Stands in for Python, and for the environments that it makes.
PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then
    mkdir -p "$3/bin" "$3/lib" && cp "$0" "$3/bin/python" && touch "$3/lib/new"
fi
[ "$2" != pytest ] || printf "%s\\n" "$@"
"""


def make_environment(repository, folder, **environment):
    source = f"source {repository}/tools/environment.sh"
    script = f"set -euo pipefail; {source}; make_environment {folder} dev"
    return subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PYTHON": str(folder.parent / "python"), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def made_environment(repository, tmp_path) -> Path:
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    folder = tmp_path / "venv"
    assert "a few minutes" in make_environment(repository, folder).stdout
    assert "there already" in make_environment(repository, folder).stdout
    return folder


def test_environment_without_its_interpreter_is_recreated(repository, made_environment):
    (made_environment / "bin/python").unlink()
    (made_environment / "bin/python").symlink_to("/no/python")
    (made_environment / "lib/old").touch()
    again = make_environment(repository, made_environment)
    assert (again.returncode, again.stderr) == (0, "")
    assert "a few minutes" in again.stdout
    assert [file.name for file in (made_environment / "lib").iterdir()] == ["new"]


def test_interrupted_deletion_leaves_no_environment_that_looks_complete(
    repository, made_environment, tmp_path
):
    for program in ("rm", "find"):  # whichever deletes
        (tmp_path / "broken").mkdir(exist_ok=True)
        (tmp_path / f"broken/{program}").write_text("#!/bin/sh\nexit 130\n")
        (tmp_path / f"broken/{program}").chmod(0o755)
    stamp = (made_environment / ".made-for").read_text()
    (made_environment / "bin/python").unlink()
    path = f"{tmp_path}/broken:{os.environ['PATH']}"
    assert make_environment(repository, made_environment, PATH=path).returncode != 0
    assert (made_environment / ".made-for").read_text() != stamp
    assert "a few minutes" in make_environment(repository, made_environment).stdout
    assert (made_environment / ".made-for").read_text() == stamp


def test_foreign_environment_is_never_deleted(repository, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    result = subprocess.run(
        ["bash", str(repository / "tools/run_tests.sh")],
        env={**os.environ, "VENV": str(tmp_path / "mine")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error:")
    assert "was not made by this script; remove it, or set VENV" in result.stderr
    assert (tmp_path / "mine/file").read_text() == "precious"


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is missing")
def test_a_second_script_leaves_an_environment_in_the_making_alone(repository, tmp_path):
    (tmp_path / "python").write_text(PYTHON.replace("mkdir", "echo made; sleep 60; mkdir"))
    (tmp_path / "python").chmod(0o755)
    source = f"set -euo pipefail; source {repository}/tools/environment.sh"
    first = subprocess.Popen(
        ["bash", "-c", f"{source}; make_environment {tmp_path}/venv dev"],
        env={**os.environ, "PYTHON": str(tmp_path / "python")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while first.stdout.readline() != "made\n":
            pass
        before = sorted((tmp_path / "venv").iterdir())
        second = make_environment(repository, tmp_path / "venv")
        assert second.returncode == 1
        who, remedy = second.stderr.split(f" works in {tmp_path}/venv; ")
        assert who == f"error: bash, process {first.pid},"
        assert remedy == "wait until it ends, or set VENV to another folder\n"
        assert sorted((tmp_path / "venv").iterdir()) == before
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    (tmp_path / "python").write_text(PYTHON)  # the lock ended with the script
    assert "a few minutes" in make_environment(repository, tmp_path / "venv").stdout


def test_unknown_family_and_missing_python_are_one_line_errors(repository, tmp_path):
    for setting, message in [
        ({"FAMILY": "mmcv"}, "unknown FAMILY=mmcv; use onedl or openmmlab"),
        ({"PYTHON": "/no/python", "VENV": str(tmp_path / "venv")}, "no Python 3.10 to 3.13 found"),
    ]:
        result = subprocess.run(
            ["bash", str(repository / "tools/run_tests.sh")],
            env={**os.environ, **setting},
            capture_output=True,
            text=True,
        )
        assert result.returncode != 0
        assert result.stderr.count("\n") == 1
        assert message in result.stderr


def test_run_tests_leaves_slow_tests_out_unless_all_are_asked_for(repository, made_environment):
    # The stand-in for an environment is one of its own family.
    stamp = made_environment / ".made-for"
    stamp.write_text(stamp.read_text().replace("dev", "onedl", 1))
    workers = str(len(os.sched_getaffinity(0)))
    for options, passed in [
        (["-k", "a b"], ["-m", "not slow", "-k", "a b"]),
        (["-x", "--all", "tests"], ["-x", "tests"]),
        (["--all"], []),
    ]:
        own = {"FAMILY": "onedl", "VENV": str(made_environment), "OMP_NUM_THREADS": "7"}
        called = subprocess.run(
            ["bash", str(repository / "tools/run_tests.sh"), *options],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
        )
        common = ["-m", "pytest", "-n", workers, "--dist", "worksteal"]
        assert lines(called)[1:] == common + passed


def test_the_quickstart_writes_where_it_was_called(repository, made_environment, tmp_path):
    stamp = made_environment / ".made-for"
    stamp.write_text(stamp.read_text().replace("dev", "onedl", 1))
    subprocess.run(
        ["bash", str(repository / "tools/quickstart.sh")],
        env={**os.environ, "VENV": str(made_environment), "OUT": "results"},
        cwd=tmp_path,
        capture_output=True,
    )
    assert (tmp_path / "results/log.txt").is_file()


def run_logged(repository, folder, script):
    """Run a Python script as a step of a shell script; the log is `log` in the folder."""
    command = f'set -euo pipefail; source {repository}/tools/logged.sh; logged log "$@"; echo next'
    return subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, "-S", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_a_logged_step_prints_its_time_and_the_rest_goes_to_the_log(repository, tmp_path):
    (tmp_path / "log").write_text("before\n")
    done = run_logged(
        repository, tmp_path, "print('out  \\\\'); import sys; print('err', file=sys.stderr)"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"   \d+ s\nnext\n", done.stdout)
    log = (tmp_path / "log").read_text().splitlines()
    assert sorted(log) == ["before", "err", "out  \\"]


def test_a_failed_step_shows_the_end_of_its_log_and_keeps_its_exit_code(repository, tmp_path):
    done = run_logged(repository, tmp_path, "print(*range(50), sep='\\n'); raise SystemExit(7)")
    assert (done.returncode, done.stdout) == (7, "")
    shown = done.stderr.splitlines()
    assert "exit code 7" in shown[0]
    assert "log" in shown[0]
    assert shown[1:] == [str(number) for number in range(30, 50)]


@pytest.mark.parametrize(
    "line, shown",
    [
        (
            "11/26 22:00:01 - mmengine - INFO - Epoch(train)   [3][ 50/125]  base_lr: 1.0e-03  "
            "lr: 1.0e-03  eta: 0:00:30  time: 0.05  loss: 0.51",
            "epoch 3, batch 50 of 125, 0:00:30 left",
        ),
        ("11/26 - mmengine - INFO - Epoch(val) [3][ 50/63]    eta: 0:00:01", "val, batch 50 of 63"),
        ("11/26 - mmengine - INFO - Epoch(test) [50/63]    eta: 0:00:01", "test, batch 50 of 63"),
        ("  Downloading torch-2.11.0.whl (80 MB)", "  Downloading torch-2.11.0.whl (80 MB)"),
        ("custom_hooks = [", ""),
    ],
)
def test_progress_is_read_from_the_lines_of_pip_and_mmengine(repository, line, shown):
    script = f'source {repository}/tools/logged.sh; progress "$1"'
    done = subprocess.run(["bash", "-c", script, "bash", line], capture_output=True, text=True)
    assert lines(done) == ([shown] if shown else [])


def test_the_quickstart_needs_no_pointer_that_is_whole(repository, tmp_path):
    torch.save({}, tmp_path / "epoch_3.pth")
    (tmp_path / "last_checkpoint").touch()  # as a kill leaves it
    function = f"sed -n '/^last_checkpoint()/,/^}}/p' {repository}/tools/quickstart.sh"
    script = f'LOG=/dev/null; PYTHON={sys.executable}; eval "$({function})"; last_checkpoint "$1"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert lines(done) == [str(tmp_path / "epoch_3.pth")]
