"""A score that chooses a checkpoint or a learning rate is checked before training."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import MMLogger
from mmengine.optim import ReduceOnPlateauLR
from mmpretrain.evaluation import MultiLabelMetric

from mmorderless.engine.hooks.score_names_hook import ScoreNamesHook, score_names
from mmorderless.metrics.label_set_metric import LabelSetMetric


def check(*owners, metrics=None, validates=True, schedulers=None):
    evaluator = Evaluator([LabelSetMetric()] if metrics is None else metrics)
    evaluator.dataset_meta = dict(classes=["ant", "bee", "cow"])
    runner = SimpleNamespace(
        hooks=owners,
        param_schedulers=schedulers,
        val_loop=object() if validates else None,
        val_evaluator=evaluator,
    )
    ScoreNamesHook().before_train(runner)


def best(name):
    return CheckpointHook(save_best=name, rule="greater")


def plateau(name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    return ReduceOnPlateauLR(optimizer, monitor=name)


@pytest.mark.parametrize("name", ["OF1", "set/of1", "set/OF1_top3", "coco/bbox_mAP"])
def test_an_unknown_score_is_an_error_that_lists_the_known_ones(name):
    for owner, option in [
        (best(name), "save_best of CheckpointHook"),
        (best(["set/OF1", name]), "save_best of CheckpointHook"),
        (EarlyStoppingHook(monitor=name, rule="greater"), "monitor of EarlyStoppingHook"),
    ]:
        with pytest.raises(ValueError, match=f"{option}='{name}' is no .* set/CP, .*set/mAP, "):
            check(owner)
    for schedulers in ([plateau(name)], {"backbone": [plateau(name)]}):
        with pytest.raises(ValueError, match=f"monitor of ReduceOnPlateauLR='{name}'"):
            check(schedulers=schedulers)


def test_known_scores_and_those_that_cannot_be_known_are_accepted():
    check(best(["set/OF1", "set/mAP", "set/rigidness"]), best("auto"))
    check(CheckpointHook(), schedulers=[plateau("set/mAP")])
    check(best("set/OF1_top3"), metrics=[LabelSetMetric(top3=True)])
    check(best("val/OF1"), metrics=[LabelSetMetric(prefix="val")])
    check(best("multi-label/f1-score"), metrics=[MultiLabelMetric(), LabelSetMetric()])
    check(best("typo"), validates=False)


def test_the_metric_itself_is_left_alone():
    metric, logger = LabelSetMetric(), MMLogger.get_current_instance()
    level = logger.level
    assert score_names(metric)[:3] == ["set/CP", "set/CR", "set/CF1"]
    assert (metric.results, metric.records, logger.level) == ([], None, level)
