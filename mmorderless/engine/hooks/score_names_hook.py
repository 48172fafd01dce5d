"""Reject a score that no evaluator gives before training, not after the first epoch."""

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.models.weights import only_warnings


@HOOKS.register_module()
class ScoreNamesHook(Hook):
    """Check the names of the scores that choose the best checkpoint, stop or change the rate.

    These are `save_best` of CheckpointHook, and `monitor` of EarlyStoppingHook and
    ReduceOnPlateauLR. They are checked only if all metrics are LabelSetMetrics: which scores others
    give is not known before an evaluation. The tools add this hook to every training.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the names.

        Raises:
            ValueError: a name is not that of a score.
        """
        if runner.val_loop is None:
            return
        metrics = runner.val_evaluator.metrics
        if not metrics or not all(isinstance(metric, LabelSetMetric) for metric in metrics):
            return
        known = [name for metric in metrics for name in score_names(metric)]
        for owner, name in chosen_scores(runner):
            if name != "auto" and name not in known:
                raise ValueError(
                    f"{owner}={name!r} is no score of the validation; choose one of "
                    f"{', '.join(known)}"
                )


def chosen_scores(runner: Runner) -> Iterator[tuple[str, str]]:
    """Yield each name of a score that a hook or schedule waits for, with its owner."""
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [scheduler for group in schedulers.values() for scheduler in group]
    for owner in (*runner.hooks, *schedulers):
        for option in ("save_best", "monitor"):
            names = getattr(owner, option, None) or []
            for name in [names] if isinstance(names, str) else names:
                yield f"{option} of {type(owner).__name__}", name


def score_names(metric: LabelSetMetric) -> list[str]:
    """Return the names of all scores that a metric may give, as it names those of one image."""
    probe: Any = copy.copy(metric)
    probe.results = []
    classes = (metric.dataset_meta or {}).get("classes")
    num_classes = metric.num_classes or len(classes or [0])
    sample = dict(
        pred_label=[0], gt_label=[0], sequence=[0], pred_score=[1.0] + [0.0] * (num_classes - 1)
    )
    with only_warnings():
        probe.process(None, [sample])
        names = probe.compute_metrics(probe.results)
    return [f"{metric.prefix}/{name}" if metric.prefix else name for name in names]
