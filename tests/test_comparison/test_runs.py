import io
import os
import sys

import pytest
from mmengine.config import Config

from mmorderless.comparison import runs as module
from mmorderless.comparison.evaluation.method_times import device_name
from mmorderless.comparison.plan import RESULT, TIMES, expand, read_result
from mmorderless.comparison.runs import method_config, time_methods, train_and_evaluate
from mmorderless.runs.machine import measurement_conditions, shared_environment
from mmorderless.runs.records import write_json

CFG = Config(dict(model=dict(type="X")))
CONDITIONS = {**measurement_conditions(shared_environment(1)), "device": device_name()}
LOCK = io.StringIO()


@pytest.fixture
def jobs(monkeypatch):
    """Collects the jobs instead of running them."""
    started = []

    def run_jobs(given, max_workers, variables, lock, on_start, on_end):
        assert lock is LOCK
        started.extend(given)
        return given[:1]

    monkeypatch.setattr(module, "run_jobs", run_jobs)
    return started


def finish(run, **values):
    result = {"method": run.method, "seed": run.seed, "times_ms_per_image": {}, **values}
    write_json(run.folder / RESULT, result)


def test_finished_runs_are_not_repeated(tmp_path, jobs, capsys):
    runs = expand(tmp_path, ["bce", "pla"], [0, 1])
    finish(runs[0])
    (runs[3].folder).mkdir(parents=True)
    (runs[3].folder / RESULT).write_text("{")  # an interrupted evaluation
    configs = {"bce": CFG, "pla": CFG}
    failed = train_and_evaluate(runs, configs, 2, LOCK)
    assert [job.name for job in jobs] == ["pla seed 0", "bce seed 1", "pla seed 1"]
    assert failed == jobs[:1]
    assert not (runs[3].folder / RESULT).exists()
    assert capsys.readouterr().out == "1 of 4 runs are finished\n"

    train, evaluate = jobs[1].steps
    assert train.command == [
        *(sys.executable, "-m", "mmorderless", "train"),
        str(tmp_path / "bce/config.py"),
        "--work-dir",
        str(runs[2].folder),
        "--resume",
        "--cfg-options",
        "randomness.seed=1",
    ]
    assert evaluate.done == runs[2].folder / RESULT
    assert Config.fromfile(tmp_path / "pla/config.py").model.type == "X"


def test_each_method_is_timed_once_and_all_its_runs_get_the_times(tmp_path, jobs):
    runs = expand(tmp_path, ["bce", "pla", "mla"], [0, 1])
    for run in runs[:5]:  # all but mla with seed 1
        finish(run)
    runs[2].folder.joinpath(RESULT).unlink()  # mla with seed 0: none is finished
    times = {"forward": 1.0, "alignment": 0.0, "backward": 2.0, "test": 3.0}
    write_json(tmp_path / "bce" / TIMES, {"ms_per_image": times, **CONDITIONS})
    time_methods(runs, LOCK)
    assert [job.name for job in jobs] == ["time of pla"]
    assert str(tmp_path / "pla/seed_0") in jobs[0].steps[0].command
    for run in (runs[0], runs[3]):
        assert read_result(run)["times_ms_per_image"] == times
    assert read_result(runs[1])["times_ms_per_image"] == {}


@pytest.mark.parametrize("other", ["machine", "device", "omp_num_threads"])
def test_methods_timed_under_other_conditions_are_timed_again(tmp_path, jobs, other):
    runs = expand(tmp_path, ["bce", "pla"], [0])
    for run, own in zip(runs, ({**CONDITIONS, other: "other"}, CONDITIONS)):
        finish(run, times_ms_per_image={"test": 1.0})
        write_json(run.folder.parent / TIMES, {"ms_per_image": {"test": 1.0}, **own})
    time_methods(runs, LOCK)
    assert [job.name for job in jobs] == ["time of bce"]
    # Times under other conditions are not reported.
    assert [read_result(run)["times_ms_per_image"] for run in runs] == [{}, {"test": 1.0}]


def test_the_config_of_a_run(repository):
    path = str(repository / "configs/digits/pla_digits.py")
    cfg = method_config(path, "ria", 3, 0.2, {"train_dataloader.batch_size": 7})
    assert cfg.model.head.loss.teacher_forcing is True
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.train_dataloader.batch_size == 7
    # Nothing of the test set: a fifth of the training images is held out.
    assert cfg.val_dataloader.dataset.type == "DatasetPart"
    assert cfg.val_dataloader.dataset.num_splits == 5
    assert cfg.val_dataloader.dataset.dataset.split == "train"
    assert cfg.test_dataloader.dataset.split == "test"
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.max_keep_ckpts, checkpoint.save_best) == (1, None)
    shared = {"default_hooks.checkpoint.out_dir": "all_runs"}
    assert method_config(path, "ria", 3, 0.2, shared).default_hooks.checkpoint.out_dir is None
    assert "LabelSetReportHook" not in {hook.type for hook in cfg.custom_hooks}
    assert "TrainingContextHook" in {hook.type for hook in cfg.custom_hooks}
    assert method_config(path, "ria", None, 0.2, {}).train_cfg.max_epochs == 16
    own = {"train_cfg.max_epochs": 7}
    assert method_config(path, "ria", 3, 0.2, own).train_cfg.max_epochs == 7


def test_epochs_of_a_training_that_counts_iterations_are_refused(repository):
    path = str(repository / "configs/digits/pla_digits.py")
    counted = {"train_cfg": {"_delete_": True, "by_epoch": False, "max_iters": 90}}
    assert method_config(path, "pla", None, 0.1, counted).train_cfg.max_iters == 90
    with pytest.raises(ValueError, match=r"--epochs 3 .* train_cfg\.max_iters=N .*\(it is 90\)"):
        method_config(path, "pla", 3, 0.1, counted)


def test_runs_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert shared_environment(3)["OMP_NUM_THREADS"] == "2"
    assert shared_environment(9)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert shared_environment(3)["OMP_NUM_THREADS"] == "5"
