"""Draw how a model decodes images of its test set.

For each image the output folder gets

- INDEX_alignment.png: the cost matrix with the PLA and MLA assignments and their losses;
- INDEX_attention.png: the attention of each emitted label over the photo;
- INDEX_orderings.png: the target sequence of every ordering strategy, and its loss.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmorderless.inference.decoded_image import find_images
from mmorderless.inference.visualizer import ImageVisualizer
from mmorderless.runs.config import read_config
from mmorderless.runs.files import replacing
from mmorderless.runs.options import add_config_options


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the images named on the command line."""
    args = build_parser().parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    visualizer = ImageVisualizer(cfg, args.checkpoint, args.device)
    indices = find_images(visualizer.dataset, args.images) if args.images else args.index
    folder = Path(args.out_dir)
    for index in indices:
        figures, left_out = visualizer.figures(index)
        for name, figure in figures.items():
            file = folder / f"{index:06d}_{name}.png"
            with replacing(file) as unfinished:
                figure.savefig(unfinished)
            print(file)
        for reason in left_out:
            print(f"image {index}: {reason}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/visualize.py."""
    parser = argparse.ArgumentParser(description="Draw how a model decodes single images.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--index", nargs="+", type=int, metavar="I", help="indices of images in the test set"
    )
    which.add_argument("--images", nargs="+", metavar="PATH", help="image files of the test set")
    parser.add_argument("--out-dir", default="figures", metavar="DIR", help="where to write")
    parser.add_argument(
        "--device", help="such as cpu or cuda:1; by default an accelerator if there is one"
    )
    add_config_options(parser)
    return parser
