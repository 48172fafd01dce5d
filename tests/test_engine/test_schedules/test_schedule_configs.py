"""The stages' learning-rate schedules, given scores under LabelSetMetric's names."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import PARAM_SCHEDULERS
from torch import nn

from mmorderless.metrics.label_set_metric import LabelSetMetric

IMAGES = 10


def metrics_with(num_right: int) -> dict[str, float]:
    """Metrics of as many images with one label each, of which some are predicted."""
    metric = LabelSetMetric(num_classes=2)
    samples = [
        dict(pred_label=torch.tensor([int(i >= num_right)]), gt_label=torch.tensor([0]))
        for i in range(IMAGES)
    ]
    metric.process(None, samples)
    return metric.evaluate(IMAGES)


def rates(repository, schedule: str, numbers_right: list[int]) -> list[float]:
    """Return the learning rate after each epoch, relative to the first."""
    cfg = Config.fromfile(repository / f"configs/_base_/schedules/{schedule}.py")
    assert len(numbers_right) <= cfg.train_cfg.max_epochs
    optim_wrapper = build_optim_wrapper(nn.Linear(1, 1), cfg.optim_wrapper)
    scheduler = PARAM_SCHEDULERS.build(
        cfg.param_scheduler, default_args=dict(optimizer=optim_wrapper)
    )
    first = optim_wrapper.get_lr()["lr"][0]
    seen = []
    for num_right in numbers_right:
        scheduler.step()  # the epoch's end
        scheduler.step(metrics_with(num_right))
        seen.append(optim_wrapper.get_lr()["lr"][0] / first)
    return seen


def test_scores_arrive_under_the_name_that_is_monitored():
    assert metrics_with(7)["set/OF1"] == pytest.approx(70)


def test_stage_1_is_cut_at_the_third_epoch_without_a_better_score(repository):
    #         best  1  2  best  1  2  3: cut  1  2  3: cut
    numbers = [5, 5, 4, 6, 6, 5, 6, 6, 2, 3]
    expected = [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01]
    assert rates(repository, "sgd", numbers) == pytest.approx(expected)


def test_stage_3_is_halved_after_each_epoch_without_a_better_score(repository):
    assert rates(repository, "finetune", [5, 6, 6, 7, 1]) == pytest.approx([1, 1, 0.5, 0.5, 0.25])
