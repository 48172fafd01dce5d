"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--out metrics.json]."""

from mmorderless.errors import run_tool
from mmorderless.launch import evaluate

if __name__ == "__main__":
    run_tool(evaluate)
