"""Evaluate a checkpoint."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults

from mmorderless.runs.launch import build_runner, evaluation_config
from mmorderless.runs.options import parse_evaluation_options


def evaluate(argv: Sequence[str] | None = None) -> None:
    """Evaluate a checkpoint on the test set of a config."""
    options = parse_evaluation_options(argv)
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    runner = build_runner(evaluation_config(options))
    if options.dump:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=options.dump))
    metrics = runner.test()
    if options.out and is_main_process():
        out = Path(options.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(metrics_json(metrics))


def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Return metrics as JSON; values that are not finite become null.

    Args:
        metrics: by name a number of Python, NumPy or PyTorch, or a list of numbers.
    """

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps({name: plain(value) for name, value in metrics.items()}, indent=2) + "\n"
