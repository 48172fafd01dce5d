"""Commands that write to a folder refuse one in which another process works."""

import errno
from pathlib import Path

import pytest
import torch

from mmorderless.commands import cache_features, test, train
from mmorderless.errors import error_line
from mmorderless.runs.processes import exclusive

CONFIG = """
train_dataloader = dict(dataset=dict(type='JsonMultiLabel', ann_file='missing.json'))
test_dataloader = dict(dataset=dict(type='JsonMultiLabel', ann_file='missing.json'))
"""
COMMANDS = {
    "training": lambda: train.train(["tiny.py", "--work-dir", "w"]),
    "feature cache": lambda: cache_features.main(["tiny.py", "--out", "w"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_process_changes_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(CONFIG)
    with exclusive(Path("w")):
        with pytest.raises(
            ValueError, match=r"^process \d+ on .* writes to w; wait.*\(--(work|out)"
        ):
            COMMANDS[name]()
        assert [path.name for path in Path("w").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "launcher, variable",
    [("pytorch", "RANK"), ("slurm", "SLURM_PROCID"), ("mpi", "OMPI_COMM_WORLD_RANK")],
)
def test_only_the_first_process_of_a_run_takes_the_lock(launcher, variable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "build_runner", lambda cfg: pytest.fail("joins the run"))
    Path("tiny.py").write_text(CONFIG)
    options = ["tiny.py", "--work-dir", "w", "--launcher", launcher]
    with exclusive(Path("w")):
        for rank, error, text in [
            ("0", ValueError, "writes to w"),
            ("1", pytest.fail.Exception, "joins"),
        ]:
            monkeypatch.setenv(variable, rank)
            with pytest.raises(error, match=text):
                train.train(options)


@pytest.mark.parametrize(
    "module, command, options, named",
    [
        (train, train.train, [], "w"),
        (test, test.evaluate, ["a.pth", "--dump", "a.pkl"], "a.pkl"),
        (test, test.evaluate, ["a.pth"], "w"),
    ],
)
def test_a_full_disk_is_named(module, command, options, named, tmp_path, monkeypatch):
    def fill_the_disk(cfg):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "build_runner", fill_the_disk)
    Path("tiny.py").write_text(CONFIG)
    torch.save({}, "a.pth")
    with pytest.raises(OSError) as raised:
        command(["tiny.py", *options, "--work-dir", "w"])
    line = f"{named}: No space left on device; free space on the disk, or choose another folder"
    assert error_line(raised.value) == line
