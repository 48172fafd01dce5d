"""Draw the README's picture: a digit scene, its labels in order of emission, their attention.

python tools/make_overview.py work_dirs/quickstart/pla/epoch_16.pth

For developers. The checkpoint is that of configs/digits/pla_digits.py, as quickstart.sh trains it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmorderless.errors import run_tool
from mmorderless.inference.visualizer import ImageVisualizer
from mmorderless.runs.config import read_config

ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Draw one scene of the test set.

    Args:
        argv: arguments of the command line.

    Raises:
        ValueError: the scene does not exist, or the checkpoint does not fit the model.
        FileNotFoundError: the checkpoint or the scenes are missing.
    """
    parser = argparse.ArgumentParser(description="Draw the README's picture.")
    parser.add_argument("checkpoint", help="checkpoint of the config")
    parser.add_argument("--config", default=str(ROOT / "configs/digits/pla_digits.py"))
    parser.add_argument("--index", type=int, default=107, help="index of the scene in the test set")
    parser.add_argument("--out", default=str(ROOT / ".github/overview.png"), help="PNG to write")
    args = parser.parse_args(argv)
    visualizer = ImageVisualizer(read_config(args.config), args.checkpoint, "cpu")
    figures, left_out = visualizer.figures(args.index)
    if "attention" not in figures:
        raise ValueError(f"scene {args.index}: {'; '.join(left_out)}")
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figures["attention"].savefig(out)
    print(out)


if __name__ == "__main__":
    run_tool(main)
