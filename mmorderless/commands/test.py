"""Command line of tools/test.py."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults

from mmorderless.runs.launch import build_runner, evaluation_config
from mmorderless.runs.options import evaluation_parser


def evaluate(argv: Sequence[str] | None = None) -> None:
    """Evaluate: the whole of tools/test.py.

    Args:
        argv: the command line's arguments.
    """
    args = evaluation_parser().parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    runner = build_runner(evaluation_config(args))
    if args.dump:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.dump))
    metrics = runner.test()
    if args.out and is_main_process():
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(metrics_json(metrics))


def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Write metrics as JSON; a value that is not a number (nan) becomes null.

    Args:
        metrics: name → a number of Python, numpy or torch, or a list of these.
    """

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps({name: plain(value) for name, value in metrics.items()}, indent=2) + "\n"
