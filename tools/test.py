"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--out metrics.json]."""

from mmorderless.commands.test import evaluate
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(evaluate)
