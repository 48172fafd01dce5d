"""Training steps that are timed are those of a training, and leave no memory to the next model."""

import weakref

import pytest
import torch
from benchmarks.gpu import speed
from benchmarks.gpu.workers import Conditions
from benchmarks.settings import Settings
from benchmarks.train_step import Steps, TrainingSteps


@pytest.fixture
def digit_steps():
    """Make training steps of the digits' model."""

    def make(kind, dtype="fp32"):
        settings = Settings(torch.device("cpu"), dtype, quick=True)
        cfg, side = speed.config_of(settings)
        return kind(cfg, side, 4, settings)

    return make


def test_every_step_is_given_labels_on_the_cpu(digit_steps, monkeypatch):
    """As in training, where moving them makes the host wait."""
    steps, given = digit_steps(Steps), []

    def train_step(data, optim_wrapper):
        given.append([sample.gt_label.data_ptr() for sample in data["data_samples"]])
        return own(data, optim_wrapper)

    own = steps.model.train_step
    monkeypatch.setattr(steps.model, "train_step", train_step)
    for _ in range(2):
        steps.run()
    assert given == 2 * [[labels.data_ptr() for labels in steps.labels]]


def test_only_the_forward_pass_is_under_autocast(digit_steps, monkeypatch):
    steps, seen = digit_steps(Steps, "bf16"), []

    def note(function):
        def call(*args, **options):
            seen.append(torch.is_autocast_enabled("cpu"))
            return function(*args, **options)

        return call

    for part, method in ((steps.model.head, "loss"), (steps.optim_wrapper, "backward")):
        monkeypatch.setattr(part, method, note(getattr(part, method)))
    steps.run()
    assert seen == [True, False]


def test_measured_models_are_freed(digit_steps):
    steps = digit_steps(TrainingSteps)
    steps.ours()
    weight = weakref.ref(next(steps.model.parameters()))
    del steps
    speed.release_memory()
    assert weight() is None


def test_a_model_that_does_not_fit_is_no_failure(monkeypatch, tmp_path):
    own = speed.measure

    def measure(settings, options, batch, parts):
        if not parts:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return own(settings, options, batch, parts)

    monkeypatch.setattr(speed, "measure", measure)
    found = speed.step_128(Conditions("cpu", tmp_path))
    assert found["BCE"] == "does not fit into the GPU's memory"
    assert found["PLA ms"] > 0
