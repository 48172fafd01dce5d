"""Evaluate a checkpoint."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults

from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.runs.files import naming, write_text
from mmorderless.runs.launch import build_runner, evaluation_config
from mmorderless.runs.options import parse_evaluation_options


def evaluate(argv: Sequence[str] | None = None) -> None:
    """Evaluate a checkpoint on the test set of a config."""
    options = parse_evaluation_options(argv)
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    cfg = evaluation_config(options)
    with naming(options.dump or cfg.work_dir):
        runner = build_runner(cfg)
        if options.dump:
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=options.dump))
        metrics = runner.test()
    if options.out and is_main_process():
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, LabelSetMetric) and metric.of_classes is not None:
                metrics[f"{metric.prefix}/per_class"] = metric.of_classes
        write_text(Path(options.out), metrics_json(metrics))


def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Return metrics, with numbers of Python, NumPy or PyTorch, as JSON; NaN and ±∞ become null."""

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, Mapping):
            return {name: plain(item) for name, item in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(metrics), indent=2) + "\n"
