import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmorderless.commands import train_stages as stages
from mmorderless.commands.train_stages import read_stages, train_stages
from mmorderless.runs import processes
from mmorderless.runs.processes import exclusive, run
from mmorderless.runs.records import differences

CONFIG = """
train_cfg = dict(by_epoch=True, max_epochs=4)
val_cfg = dict()
default_hooks = dict(checkpoint=dict(type='CheckpointHook', save_best='set/OF1'))
train_dataloader = dict(batch_size=2, num_workers=2)
"""
NAMES = ("bce", "pla", "fine")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A user's folder with the configs of three stages, of which the first hands over its best."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Path(f"{name}.py").write_text(CONFIG)
    with open("bce.py", "a") as file:
        file.write("hand_over = 'best'")
    return tmp_path


@pytest.fixture
def trainer(monkeypatch):
    """A stand-in for tools/train.py that writes checkpoints and records its calls."""

    class Trainer:
        calls: list[list[str]] = []
        fails = {}  # exit code by stage
        writes = True

        def __call__(self, command, lock):
            self.calls.append(list(command))
            stage = Path(command[command.index("--work-dir") + 1])
            if self.writes:
                for name in ("epoch_4.pth", "best_set_OF1_epoch_3.pth"):
                    torch.save({"state_dict": {}, "of": stage.name}, stage / name)
                (stage / "last_checkpoint").write_text(str(stage.absolute() / "epoch_4.pth"))
            code = self.fails.get(stage.name, 0)
            if code == "^C":
                raise KeyboardInterrupt
            return code

        def trained(self):
            """Return the stages trained since the last call of this method."""
            names = [Path(command[4]).stem for command in self.calls]
            self.calls.clear()
            return names

    trainer = Trainer()
    trainer.calls = []
    trainer.fails = {}
    monkeypatch.setattr(stages, "run", trainer)
    return trainer


@pytest.fixture
def lock(tmp_path):
    with exclusive(tmp_path / "locked") as lock:
        yield lock


def train(*options: str, configs=NAMES) -> int:
    return train_stages([*(f"{name}.py" for name in configs), *options])


def test_each_stage_starts_from_the_checkpoint_of_the_one_before(folder, trainer, capsys):
    assert train("--work-dir", "w", "--amp", "bf16", "--cfg-options", "seed=1") == 0
    python = [sys.executable, "-m", "mmorderless", "train"]
    options = ["--resume", "--amp", "bf16", "--cfg-options", "seed=1"]
    assert trainer.calls == [
        [*python, "bce.py", "--work-dir", "w/bce", *options],
        [
            *[*python, "pla.py", "--work-dir", "w/pla", *options],
            "load_from=w/bce/best_set_OF1_epoch_3.pth",
        ],
        [
            *[*python, "fine.py", "--work-dir", "w/fine", *options],
            "load_from=w/pla/epoch_4.pth",
        ],
    ]
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "== checkpoints of the stages",
        "bce: w/bce/best_set_OF1_epoch_3.pth",
        "pla: w/pla/epoch_4.pth",
        "fine: w/fine/epoch_4.pth",
    ]


def test_finished_stages_are_not_trained_again(folder, trainer, capsys):
    trainer.fails = {"pla": 3}
    assert train() == 3
    assert trainer.trained() == ["bce", "pla"]
    assert capsys.readouterr().err == (
        "error: stage 2 of 3 (pla) failed (exit code 3); run the same command to resume\n"
    )
    trainer.fails = {"fine": "^C"}
    assert train() == 130
    assert trainer.trained() == ["pla", "fine"]
    assert "error: stage 3 of 3 (fine) was interrupted (exit code 130)" in capsys.readouterr().err
    trainer.fails = {}
    assert train() == 0
    assert trainer.trained() == ["fine"]
    assert train() == 0
    assert trainer.trained() == []
    assert "stage 3 of 3 (fine): already finished" in capsys.readouterr().out
    assert sorted(os.listdir("work_dirs/fine_stages")) == sorted([".lock", *NAMES])


def test_folder_of_all_stages_may_be_moved(folder, trainer):
    trainer.fails = {"fine": 1}
    train("--work-dir", "w")
    trainer.trained()
    trainer.fails = {}
    os.rename("w", "elsewhere")
    assert train("--work-dir", "elsewhere") == 0
    assert trainer.calls[0][-1] == "load_from=elsewhere/pla/epoch_4.pth"
    assert trainer.trained() == ["fine"]


def test_the_last_checkpoint_says_which_best_one_is_handed_over(folder, trainer, monkeypatch):
    """A folder that was moved during a stage also has an earlier best checkpoint."""

    def leave_both(command, lock):
        trainer(command, lock)
        stage = Path(command[command.index("--work-dir") + 1])
        torch.save({}, stage / "best_set_OF1_epoch_1.pth")
        notes = {"best_ckpt": "/before/the/move/best_set_OF1_epoch_3.pth"}
        hub = {"runtime_info": notes}
        torch.save({"state_dict": {}, "message_hub": hub}, stage / "epoch_4.pth")
        return 0

    monkeypatch.setattr(stages, "run", leave_both)
    assert train("--work-dir", "w") == 0
    assert trainer.calls[1][-1] == "load_from=w/bce/best_set_OF1_epoch_3.pth"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"settings": {}}', b"\xff\xfe", b"[" * 100_000])
def test_damaged_record_error_names_the_file(content, folder, trainer):
    trainer.fails = {"bce": 1}
    train("--work-dir", "w")
    Path("w/bce/stage.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"w/bce/stage\.json is damaged .*; remove w/bce to train"):
        train("--work-dir", "w")


@pytest.mark.parametrize(
    "options, gpus",
    [(["--nproc", "8"], None), (["--slurm", "part"], "8"), (["--slurm", "part"], None)],
)
def test_another_number_of_processes_is_rejected(folder, trainer, monkeypatch, options, gpus):
    trainer.fails = {"bce": 1}
    train("--work-dir", "w")
    if gpus:
        monkeypatch.setenv("GPUS", gpus)
    with pytest.raises(ValueError, match=r"w/bce was trained with .* \(processes: 1 → 8\)"):
        train("--work-dir", "w", *options)


@pytest.mark.parametrize(
    "options, name", [(["--nproc", "2"], "NNODES"), (["--slurm", "part"], "GPUS")]
)
def test_invalid_number_of_processes_is_an_error(folder, trainer, monkeypatch, options, name):
    monkeypatch.setenv(name, "many")
    with pytest.raises(ValueError, match=f"{name} must be a positive number, got many"):
        train(*options)


def test_a_stage_without_a_launcher_is_one_process(folder, trainer, monkeypatch):
    trainer.fails = {"bce": 1}
    train("--work-dir", "w")
    monkeypatch.setenv("NNODES", "2")  # dist_train.sh alone reads it
    assert train("--work-dir", "w") == 1


def test_options_of_one_stage(folder, trainer):
    own = ("--stage-options", "2", "a=1", "b=2", "--stage-options", "1", "load_from=x y.pth")
    assert train(*own, "--stage-options", "2", "b=3", "--cfg-options", "c=4") == 0
    given = [command[command.index("--cfg-options") + 1 :] for command in trainer.calls]
    assert given[0] == ["c=4", "load_from=x y.pth"]
    assert given[1][:-1] == ["c=4", "a=1", "b=2", "b=3"]
    assert given[2][:-1] == ["c=4"]


def test_changed_settings_are_rejected_and_listed(folder, trainer):
    trainer.fails = {"pla": 1}
    train("--work-dir", "w")
    trainer.trained()
    for number, stage in [("1", "bce"), ("2", "pla")]:  # finished, and started
        with pytest.raises(
            ValueError,
            match=rf"^w/{stage} was trained with other settings \(seed: None → 1; "
            r"train_cfg.max_epochs: 4 → 5\); undo the change, or choose another --work-dir, or "
            rf"remove w/{stage} to train this stage again$",
        ):
            train("--work-dir", "w", "--stage-options", number, "train_cfg.max_epochs=5", "seed=1")
    with pytest.raises(ValueError, match=r"w/bce .*\(options.amp: None → fp16\)"):
        train("--work-dir", "w", "--amp")
    assert trainer.trained() == []
    # Later stages and options that only affect speed may change.
    faster = ("--cfg-options", "train_dataloader.num_workers=9", "--no-pin-memory")
    trainer.fails = {}
    assert train("--work-dir", "w", "--stage-options", "3", "seed=1", *faster) == 0
    assert trainer.trained() == ["pla", "fine"]


def test_stage_without_a_checkpoint_may_begin_with_other_settings(folder, trainer):
    trainer.fails, trainer.writes = {"bce": 1}, False
    assert train() == 1
    trainer.fails, trainer.writes = {}, True
    assert train("--cfg-options", "seed=1") == 0


def test_stages_of_another_sequence_are_rejected(folder, trainer):
    train("--work-dir", "w")
    Path("w/bce").rename("bce_1")
    with pytest.raises(
        ValueError,
        match=r"w/pla started from a stage that is no longer finished, .* \(w/bce\); .*remove w/pl",
    ):
        train("--work-dir", "w")
    with pytest.raises(ValueError, match=r"w/fine .*load_from: \.\./pla/epoch_4\.pth → None\)"):
        train("--work-dir", "w", configs=["fine"])
    Path("bce_1").rename("w/bce")
    assert train("--work-dir", "w") == 0
    Path("w/bce/best_set_OF1_epoch_3.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"^w/bce/best_\S+\.pth is missing; restore it, or"):
        train("--work-dir", "w")


def test_training_that_was_not_a_stage_is_rejected(folder, trainer):
    Path("w/pla").mkdir(parents=True)
    Path("w/pla/last_checkpoint").write_text("x.pth")
    with pytest.raises(ValueError, match=r"w/pla holds a training .* did not start; choose anoth"):
        train("--work-dir", "w")
    assert trainer.trained() == []


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda stage: (stage / "best_set_OF1_epoch_3.pth").unlink(), r"no best_\*\.pth in w/bce"),
        (
            lambda stage: (stage / "best_set_OF1_epoch_3.pth").write_bytes(b""),
            r"epoch_3\.pth \(0 bytes\) is not a checkpoint",
        ),
        (
            lambda stage: torch.save({}, stage / "best_set_OF1_epoch_2.pth"),
            r"which of w/bce/best_set_OF1_epoch_2.pth, w/bce/\S+3\.pth is the best",
        ),
        (lambda stage: None, None),
    ],
)
def test_checkpoint_to_hand_over(folder, trainer, monkeypatch, spoil, message):
    def spoiling(command, lock):
        code = trainer(command, lock)
        spoil(Path(command[command.index("--work-dir") + 1]))
        return code

    monkeypatch.setattr(stages, "run", spoiling)
    if message is None:
        assert train("--work-dir", "w") == 0
        return
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train("--work-dir", "w")
    assert trainer.trained() == ["bce"]
    assert json.loads(Path("w/bce/stage.json").read_text())["checkpoint"] is None


def test_last_checkpoint_must_have_been_written(folder, trainer):
    trainer.writes = False
    with pytest.raises(FileNotFoundError, match="training in w/pla wrote no checkpoint to hand ov"):
        train("--work-dir", "w", configs=["pla"])


@pytest.mark.parametrize(
    "options, message",
    [
        (["missing.py"], r"there is no config missing\.py"),
        (["sub/pla.py"], "two stages are called pla"),
        (["--nproc", "0"], "--nproc must be a positive number of processes, got 0"),
        (["--stage-options", "4", "a=1"], r"number of a stage \(1 to 3\) and KEY=VALUE, got 4 a=1"),
        (["--stage-options", "a=1"], r"number of a stage \(1 to 3\) and KEY=VALUE, got a=1"),
        (["--stage-options", "2"], r"number of a stage \(1 to 3\) and KEY=VALUE, got 2"),
        (["--resume", "x.pth"], "tools/train_stages.py sets --resume for every stage"),
        (["--launcher", "slurm"], "sets --launcher for every stage"),
        (
            ["--cfg-options", "load_from=a.pth"],
            r"pla\.py starts from the previous stage, not from lo",
        ),
        (["--cfg-options", "hand_over=first"], "hand_over in bce.py must be 'best' or 'last', got"),
        (["--no-validate"], r"bce\.py hands over its best checkpoint, which needs validation and"),
        (["--cfg-options", "default_hooks.checkpoint.save_best=None"], "bce.py hands over its bes"),
        (["--cfg-options", "train_cfg.max_epochs.x=1"], "cannot merge --cfg-options"),
        (["--work-dir", "a,b"], r"load_from=a,b/bce/\.\.\. would be read as a list; choose"),
    ],
)
def test_errors_before_the_first_stage(folder, trainer, options, message):
    (folder / "sub").mkdir()
    (folder / "sub/pla.py").write_text(CONFIG)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(*options)
    assert trainer.trained() == []


def test_unknown_option_is_an_error(folder, trainer, capsys):
    for option in ("--ampp", "--stage-option"):
        with pytest.raises(SystemExit):
            train(option)
        assert f"unrecognized arguments: {option}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train("--stage-options", "1", "a")
    assert "expects KEY=VALUE, got 'a'" in capsys.readouterr().err
    assert trainer.trained() == []


def test_commands_of_several_processes(folder, repository):
    for launcher, expected in [
        (["--nproc", "8"], "bash tools/dist_train.sh pla.py 8 --work-dir w/pla --resume --amp"),
        (["--slurm", "gpu"], "bash tools/slurm_train.sh gpu pla pla.py w/pla --resume --amp"),
    ]:
        (stage,), args = read_stages(["pla.py", "--work-dir", "w", "--amp", *launcher])
        command = stages.command_of(stage, None, args.nproc, args.slurm)
        assert command == expected.replace("tools", str(repository / "tools")).split()
    with pytest.raises(SystemExit):
        read_stages(["pla.py", "--nproc", "2", "--slurm", "gpu"])


def test_differences_name_the_keys():
    before = {"a": {"b": 1, "c": [1, 2]}, "d": None, "same": 0}
    now = {"a": {"b": 2, "c": [1, 3]}, "e": {"f": 1}, "same": 0}
    assert list(differences(before, now)) == [
        "a.b: 1 → 2",
        "a.c: [1, 2] → [1, 3]",
        "e: None → {'f': 1}",
    ]
    long = next(differences({"a": "x" * 100}, {"a": "y"}))
    assert long == "a: " + "x" * 57 + "... → y"


def test_command_that_is_killed_has_the_exit_code_of_a_shell(monkeypatch, lock):
    monkeypatch.setenv("PYTHON", "mine")
    script = "import os, sys; sys.exit(7 if os.environ['PYTHON'] == 'mine' else 1)"
    assert run([sys.executable, "-c", script], lock) == 7
    assert run(["sh", "-c", "kill -9 $$"], lock) == 137


def signal_parent(name: str) -> list[str]:
    """Return a command that sends this process a signal and then runs for a minute."""
    return ["sh", "-c", f"sleep 0.3; kill -{name} $PPID; exec sleep 60"]


def test_termination_signal_is_passed_on_to_the_command(lock):
    handler = signal.getsignal(signal.SIGTERM)
    assert run(signal_parent("TERM"), lock) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler


def test_interrupt_waits_for_the_command_and_then_ends_it(monkeypatch, lock):
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(processes, "SECONDS_TO_END", 0.2)
    with pytest.raises(KeyboardInterrupt):
        run(signal_parent("INT"), lock)
    assert started[0].returncode == -signal.SIGTERM


# The driver by itself: the whole package takes seconds to import.
DRIVER = """
import sys
from pathlib import Path
from processes import exclusive, run
child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
with exclusive(Path("w")) as lock:
    run(["sh", "-c", f'{sys.executable} -S -c "{child}"; exit'], lock)
"""


def test_the_training_of_a_killed_driver_keeps_the_folder(folder, trainer, repository):
    modules = {"PYTHONPATH": str(repository / "mmorderless/runs")}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], env=os.environ | modules, stdout=subprocess.PIPE, text=True
    )
    with driver.stdout:
        training = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    try:
        who = (
            rf"process {driver.pid} on \S+ since .*, or one that it left behind, writes to w; wait"
        )
        with pytest.raises(ValueError, match=who):
            train("--work-dir", "w")
    finally:
        os.kill(training, signal.SIGKILL)
    assert trainer.calls == []
    assert [path.name for path in Path("w").iterdir()] == [".lock"]
