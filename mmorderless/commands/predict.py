"""Predict the labels of images: python tools/predict.py CONFIG CHECKPOINT IMAGES... --out-dir DIR.

Writes DIR/predictions.json (its form: see tools/README.md) and, in DIR/pictures,
every image with its labels. An image that cannot be read is reported, the others are predicted,
and the exit code is 1.

A model that was trained on boxes cut out of photos (WIDER Attribute) is given the crops.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mmorderless.inference.images import list_images
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.pictures import draw_pictures
from mmorderless.inference.predictions import predictions_json
from mmorderless.runs.config import read_config
from mmorderless.runs.options import add_config_options


def main(argv: Sequence[str] | None = None) -> int:
    """Predict, write, and return the exit code."""
    args = parser().parse_args(argv)
    out = Path(args.out_dir)
    images = [image for path in args.images for image in list_images(path)]
    # Starting processes takes longer than a single batch.
    workers = 0
    if len(images) > args.batch_size:
        workers = min(4, usable_cores()) if args.workers is None else args.workers
    inferencer = OrderlessInferencer(
        read_config(args.config, args.cfg_options),
        args.checkpoint,
        device=args.device,
        batch_size=args.batch_size,
        num_workers=workers,
    )
    if args.workers is None and next(inferencer.model.parameters()).device.type == "cpu":
        inferencer.num_workers = 0  # the model keeps all cores busy
    results = inferencer(images, return_attention=args.attention, skip_unreadable=True)
    unreadable = [result for result in results if "error" in result]
    not_drawn = []
    if not args.no_pictures:
        not_drawn = draw_pictures(results, out / "pictures", workers)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "predictions.json"
    text = predictions_json(results, inferencer.classes, args.checkpoint)
    file.write_text(text, encoding="utf-8")
    print(f"{file}: {len(results) - len(unreadable)} images")
    errors = [result["error"] for result in unreadable] + not_drawn
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


def usable_cores() -> int:
    """Return how many cores this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Predict the labels of images.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files or folders")
    parser.add_argument("--out-dir", default="predictions", metavar="DIR", help="where to write")
    parser.add_argument("--batch-size", type=int, default=32, help="images a forward pass")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that load images and draw pictures, where there are several batches; up to "
        "4 unless given, and none that loads when the model is on the CPU",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; an accelerator if there is one")
    parser.add_argument("--no-pictures", action="store_true", help="write the JSON only")
    parser.add_argument("--attention", action="store_true", help="add the attention maps")
    add_config_options(parser)
    return parser
