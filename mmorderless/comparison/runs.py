"""Train, evaluate and time the runs of a comparison in processes."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from mmengine.config import Config

from mmorderless.comparison.evaluation.completion import COMPLETION, Settings, read_completion
from mmorderless.comparison.evaluation.method_times import device_name
from mmorderless.comparison.evaluation.trained import CONFIG
from mmorderless.comparison.plan import RESULT, TIMES, Run, read_result
from mmorderless.comparison.progress import JobProgress
from mmorderless.runs.config import read_config
from mmorderless.runs.files import write_text
from mmorderless.runs.launch import TrainingOptions
from mmorderless.runs.machine import measurement_conditions, shared_environment
from mmorderless.runs.processes import Job, Step, run_jobs
from mmorderless.runs.records import (
    differences,
    raise_if_changed,
    read_json,
    training_settings,
    write_json,
)

LOG = "log.txt"
COMPLETION_LOG = "completion.log"

REMOVED_HOOKS = {"LabelSetReportHook"}
"""Hooks that take time without an effect on the result."""


def method_config(
    config: str, method: str, epochs: int | None, val_split: float, cfg_options: Mapping[str, Any]
) -> Config:
    """Return the config for training and evaluating a method.

    Only the last checkpoint is kept: choosing the best one would use the images on which the
    operating points are chosen.

    Args:
        config: path of the dataset's config.
        method: name of the method.
        epochs: number of training epochs, unless `cfg_options` has one; None takes the config's.
        val_split: share of the training images that is held out.
        cfg_options: values by dotted key.

    Raises:
        FileNotFoundError: the config does not exist.
        ValueError: the method is unknown or does not fit the config, or an option does not fit,
            such as epochs for a training that counts iterations.
    """
    common = {} if epochs is None else {"train_cfg.max_epochs": epochs}
    options = {**common, **cfg_options, "method": method, "val_split": val_split}
    cfg = read_config(config, options)
    max_iters = (cfg.get("train_cfg") or {}).get("max_iters")
    if epochs is not None and max_iters is not None:
        raise ValueError(
            f"--epochs {epochs} does not fit {config}, which counts iterations: give --cfg-options "
            f"train_cfg.max_iters=N instead (it is {max_iters})"
        )
    if cfg.get("test_dataloader") is None:
        raise ValueError(f"{config} has no test_dataloader to evaluate on; add one")
    cfg.custom_hooks = [
        hook for hook in cfg.get("custom_hooks") or [] if hook.get("type") not in REMOVED_HOOKS
    ]
    hooks = dict(cfg.get("default_hooks") or {})
    checkpoint = {"type": "CheckpointHook", "interval": 1, **(hooks.get("checkpoint") or {})}
    # No `out_dir`, because all methods would share it; checkpoints stay in the run's folder.
    hooks["checkpoint"] = {**checkpoint, "max_keep_ckpts": 1, "save_best": None, "out_dir": None}
    cfg.default_hooks = hooks
    return cfg


def comparable_settings(cfg: Config) -> dict[str, Any]:
    """Return the settings on which a run's result depends, without the seed, as JSON values."""
    settings = training_settings(cfg, TrainingOptions(CONFIG))
    return {**settings, "load_from": cfg.get("load_from")}


def check_configs(comparison: Path, configs: Mapping[str, Config]) -> None:
    """Check that no method's settings have changed since the first of its runs started.

    A key whose value is None equals a missing key.

    Raises:
        ValueError: a method's settings differ, so that its runs would not be comparable.
    """
    for method, cfg in configs.items():
        file = comparison / method / CONFIG
        started = any(file.parent.glob("seed_*/last_checkpoint"))
        if started and file.is_file():
            before = Config.fromfile(file, import_custom_modules=False)
            changes = differences(comparable_settings(before), comparable_settings(cfg))
            raise_if_changed(list(changes), f"{file.parent} holds runs of {method}")


def training_job(run: Run, config: Path) -> Job:
    """Return the job that trains or resumes a run and evaluates it."""
    train = [sys.executable, "-m", "mmorderless", "train", str(config)]
    train += ["--work-dir", str(run.folder), "--resume"]
    train += ["--cfg-options", f"randomness.seed={run.seed}"]
    evaluate = [sys.executable, "-m", "mmorderless.comparison.evaluation.evaluate", str(run.folder)]
    steps = [Step(train, run.folder / "trained"), Step(evaluate, run.folder / RESULT)]
    return Job(str(run), steps, run.folder / LOG)


def timing_job(run: Run) -> Job:
    """Return the job that times a run's model, on behalf of all runs of its method."""
    folder = run.folder.parent
    out = folder / TIMES
    tool = [sys.executable, "-m", "mmorderless.comparison.evaluation.method_times"]
    step = Step([*tool, str(run.folder), str(out)], out)
    return Job(f"time of {run.method}", [step], folder / "timing.log")


def completion_job(run: Run, settings: Settings) -> Job:
    """Return the job that evaluates how a run completes label sets."""
    tool = [sys.executable, "-m", "mmorderless.comparison.evaluation.completion"]
    command = [*tool, str(run.folder), json.dumps(asdict(settings))]
    return Job(str(run), [Step(command, run.folder / COMPLETION)], run.folder / COMPLETION_LOG)


def complete_runs(
    runs: Sequence[Run], settings: Settings, max_workers: int, lock: IO[str]
) -> list[Job]:
    """Evaluate how runs complete label sets, unless that was done with the same settings.

    Returns:
        The jobs that failed.
    """
    jobs = []
    for run in (run for run in runs if read_completion(run.folder, settings) is None):
        (run.folder / COMPLETION).unlink(missing_ok=True)
        jobs.append(completion_job(run, settings))
    with JobProgress("runs", len(runs), len(runs) - len(jobs)) as progress:
        variables = shared_environment(max_workers)
        return run_jobs(jobs, max_workers, variables, lock, progress.start, progress.end)


def train_and_evaluate(
    runs: Sequence[Run], configs: Mapping[str, Config], max_workers: int, lock: IO[str]
) -> list[Job]:
    """Train and evaluate the unfinished runs.

    Returns:
        The jobs that failed.
    """
    jobs = []
    for run in (run for run in runs if read_result(run) is None):
        file = run.folder.parent / CONFIG
        write_text(file, configs[run.method].pretty_text)
        (run.folder / RESULT).unlink(missing_ok=True)  # damaged, or another run's
        jobs.append(training_job(run, file))
    done = len(runs) - len(jobs)
    print(f"{done} of {len(runs)} runs are finished", flush=True)
    with JobProgress("runs", len(runs), done) as progress:
        variables = shared_environment(max_workers)
        return run_jobs(jobs, max_workers, variables, lock, progress.start, progress.end)


def time_methods(runs: Sequence[Run], lock: IO[str]) -> list[Job]:
    """Time each method that has a finished run, one after the other on the idle machine.

    The times are written to the results of all its runs. Methods that were timed on another machine
    or device or with another number of threads are timed again, so that all conditions are equal.

    Returns:
        The jobs that failed.
    """
    finished = {run: result for run in runs if (result := read_result(run)) is not None}
    first_runs: dict[str, Run] = {}
    for run in finished:
        first_runs.setdefault(run.method, run)
    variables = shared_environment(1)
    conditions = {**measurement_conditions(variables), "device": device_name()}
    jobs = []
    for run in first_runs.values():
        times = read_json(run.folder.parent / TIMES)
        if times is None or {name: times.get(name) for name in conditions} != conditions:
            (run.folder.parent / TIMES).unlink(missing_ok=True)
            jobs.append(timing_job(run))
    with JobProgress("timings", len(first_runs), len(first_runs) - len(jobs)) as progress:
        failed = run_jobs(jobs, 1, variables, lock, progress.start, progress.end)
    for run, result in finished.items():
        times = (read_json(run.folder.parent / TIMES) or {}).get("ms_per_image", {})
        if result["times_ms_per_image"] != times:
            write_json(run.folder / RESULT, {**result, "times_ms_per_image": times})
    return failed
