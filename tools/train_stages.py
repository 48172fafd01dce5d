"""Train one config after the other, each from the checkpoint of the one before.

python tools/train_stages.py CONFIG [CONFIG ...] [--work-dir DIR] [--nproc N | --slurm PARTITION]
    [--stage-options N KEY=VALUE ...] [options of tools/train.py for every stage]
"""

from functools import partial
from pathlib import Path

from mmorderless.commands.train_stages import train_stages
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(partial(train_stages, tools=Path(__file__).parent))
