"""Real trainings of the digits' model with tools/train.py, in processes of their own."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..models import CONFIGS
from .workers import Conditions

TOOLS = CONFIGS.parent / "tools"
DIGITS = CONFIGS / "digits/pla_digits.py"
FEW = [
    *("train_dataloader.dataset.num_scenes=320", "val_dataloader.dataset.num_scenes=64"),
    *("test_dataloader.dataset.num_scenes=64", "train_dataloader.batch_size=16"),
    "default_hooks.logger.interval=5",
]
"""Settings on a CPU."""
AVERAGED = """
_base_ = {bases}
optim_wrapper = dict(optimizer=dict(lr=3e-3))
"""
DETERMINISTIC = ["randomness.deterministic=True", "env_cfg.cudnn_benchmark=False"]


class Training:
    """A run of a tool.

    Args:
        conditions: device and folder.
        name: of its work dir and log.
        tool: train.py or test.py.
        arguments: of the tool, without `--work-dir` and `--cfg-options`.
        settings: for `--cfg-options`.
        variables: environment variables.
    """

    def __init__(
        self,
        conditions: Conditions,
        name: str,
        tool: str,
        arguments: Sequence[str],
        settings: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.folder = name, conditions.folder / name
        self._log = conditions.folder / f"{name}.log"
        settings = [
            *("default_hooks.logger.interval=10", "default_hooks.checkpoint.save_best=None"),
            *(f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test")),
            *(FEW if conditions.quick else ()),
            *settings,
        ]
        paths = [str(TOOLS.parent), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, str(TOOLS / tool), *arguments, "--work-dir", str(self.folder)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--cfg-options", *settings],
                cwd=conditions.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    "OMP_NUM_THREADS": "1",
                    **(variables or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self) -> "Training":
        """Wait for the end.

        Raises:
            AssertionError: the exit code is not 0.
        """
        code = self._process.wait()
        last = (self._log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        assert code == 0, f"{self.name} ended with code {code}: {last}"
        return self

    def logged(self, key: str) -> list[float]:
        """Return the values of a key in the order in which they were logged."""
        files = sorted(self.folder.glob("*/vis_data/scalars.json"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line[key] for line in lines if key in line]

    def loss_falls(self, to: float = 0.9) -> str:
        """Return the first and the last loss in words.

        Args:
            to: share of the first loss that the last one must be below.

        Raises:
            AssertionError: it is not.
        """
        first, *_, last = self.logged("loss")
        assert last < to * first, f"{self.name}: the loss went from {first:.3g} to {last:.3g}"
        return f"loss {first:.3g} to {last:.3g}"

    def checkpoint(self, epoch: int) -> dict[str, Any]:
        """Load a checkpoint, which this process's user has just written."""
        file = self.folder / f"epoch_{epoch}.pth"
        return torch.load(file, map_location="cpu", weights_only=False)


def digits(conditions: Conditions) -> dict[str, Any]:
    """The digits' model learns in fp32, bf16 and fp16, and with CUDA graphs."""
    runs: dict[str, tuple[list[str], list[str]]] = {"fp32": ([], [])}
    if not conditions.quick:
        runs["bf16"], runs["fp16"] = (["--amp", "bf16"], []), (["--amp", "fp16"], [])
        runs["graphed"] = (["--amp", "bf16"], ["model.head.decoder.graphed=True"])
    epochs = 1 if conditions.quick else 4
    settings = [f"train_cfg.max_epochs={epochs}", f"train_cfg.val_interval={epochs}"]
    trainings = {
        name: Training(
            conditions, f"digits_{name}", "train.py", [str(DIGITS), *amp], settings + own
        )
        for name, (amp, own) in runs.items()
    }
    found = {}
    for name, training in trainings.items():
        found[name] = training.finish().loss_falls()
        found[name] += f", O-F1 {training.logged('set/OF1')[-1]:.1f}"
    return found


def swa_resume(conditions: Conditions) -> dict[str, Any]:
    """Weights are the average of the snapshots; a resumed run equals the other bit for bit.

    Deterministic algorithms, and fp16 on a GPU. `test.py` finds the scores of the validation.
    """
    config = conditions.folder / "averaged.py"
    parts = ("models/orderless_digits.py", "datasets/digits.py", "schedules/swa.py")
    config.write_text(AVERAGED.format(bases=[str(CONFIGS / "_base_" / part) for part in parts]))
    amp = [] if conditions.quick else ["--amp", "fp16"]
    settings = ["train_cfg.max_epochs=2", *DETERMINISTIC]
    whole = Training(conditions, "whole", "train.py", [str(config), *amp], settings).finish()
    half = conditions.folder / "resumed"
    half.mkdir()
    shutil.copy(whole.folder / "epoch_1.pth", half)
    resume = [str(config), *amp, "--resume", str(half / "epoch_1.pth")]
    resumed = Training(conditions, "resumed", "train.py", resume, settings)
    scores = conditions.folder / "test.json"
    test = [str(config), str(whole.folder / "epoch_2.pth"), *amp, "--out", str(scores)]
    Training(conditions, "test", "test.py", test, DETERMINISTIC).finish()
    expected = whole.checkpoint(2)
    swa, state = expected["swa"], expected["state_dict"]
    for name, total in swa["sum"].items():
        torch.testing.assert_close(state[name].double(), total / swa["count"], rtol=1e-5, atol=1e-6)
    found = resumed.finish().checkpoint(2)
    for kind, x, y in (
        ("averaged", found["state_dict"], state),
        ("raw", found["swa"]["raw"], swa["raw"]),
    ):
        off = [name for name in y if not torch.equal(x[name], y[name])]
        assert not off, f"{len(off)} {kind} weights differ after resuming, such as {off[0]}"
    tested, validated = json.loads(scores.read_text())["set/OF1"], whole.logged("set/OF1")[-1]
    assert abs(tested - validated) < 0.1, f"O-F1 {tested} in test.py, {validated} in validation"
    return {"snapshots": swa["count"], "O-F1": tested}


def processes(conditions: Conditions) -> dict[str, Any]:
    """A training with one process over NCCL and one with two over gloo, on one device, end well."""
    groups = {"gloo": 2} if conditions.quick else {"nccl": 1, "gloo": 2}
    trainings = []
    for backend, size in groups.items():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(size))
        arguments = [str(DIGITS), "--launcher", "pytorch", "--no-validate"]
        settings = ["train_cfg.max_epochs=1", f"env_cfg.dist_cfg.backend={backend}"]
        for rank in range(size):  # the processes share the GPU
            variables = dict(address, RANK=str(rank), LOCAL_RANK="0")
            name = f"{backend}_{rank}"
            trainings.append(Training(conditions, name, "train.py", arguments, settings, variables))
    for training in trainings:
        training.finish()
    return {
        training.name.removesuffix("_0"): training.loss_falls(to=1)
        for training in trainings
        if training.name.endswith("_0")
    }


def compile_backbone(conditions: Conditions) -> dict[str, Any]:
    """Training with `compile=True` learns; on a CPU without the compiler of kernels."""
    amp = [] if conditions.quick else ["--amp", "bf16"]
    settings = ["train_cfg.max_epochs=1", "train_cfg.val_interval=2"]
    settings.append("compile.backend=eager" if conditions.quick else "compile=True")
    training = Training(conditions, "compile", "train.py", [str(DIGITS), *amp], settings)
    found = training.finish().loss_falls()
    seconds = training.logged("time")
    return {"compiled": found, "s/iteration at first": seconds[0], "at last": seconds[-1]}
