"""Predict the labels of images and write them as JSON, with a picture of each image.

Images that cannot be read are reported, and the exit code is 1; the others are predicted. A model
that was trained on boxes cut out of photos (WIDER Attribute) needs the crops as images.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmorderless.inference.images import list_images
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.known_labels import read_known_lists
from mmorderless.inference.pictures import draw_pictures
from mmorderless.inference.predictions import predictions_json
from mmorderless.runs.config import read_config
from mmorderless.runs.files import write_text
from mmorderless.runs.machine import usable_cores
from mmorderless.runs.options import add_config_options


def main(argv: Sequence[str] | None = None) -> int:
    """Predict images, write DIR/predictions.json and DIR/pictures, and return the exit code."""
    args = build_parser().parse_args(argv)
    out = Path(args.out_dir)
    images = [image for path in args.images for image in list_images(path)]
    # Starting processes takes longer than one batch.
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
        inferencer.num_workers = 0  # the model uses all cores
    given, excluded = (None, None) if args.given is None else read_known_lists(args.given, images)
    results = inferencer(
        images,
        return_attention=args.attention,
        skip_unreadable=True,
        given=given,
        excluded=excluded,
    )
    unreadable = [result for result in results if "error" in result]
    drawing_errors = []
    if not args.no_pictures:
        drawing_errors = draw_pictures(results, inferencer.classes, out / "pictures", workers)
    file = out / "predictions.json"
    write_text(file, predictions_json(results, inferencer.classes, args.checkpoint))
    print(f"{file}: {len(results) - len(unreadable)} images")
    errors = [result["error"] for result in unreadable] + drawing_errors
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/predict.py."""
    parser = argparse.ArgumentParser(description="Predict the labels of images.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files or folders")
    parser.add_argument("--out-dir", default="predictions", metavar="DIR", help="where to write")
    parser.add_argument("--batch-size", type=int, default=32, help="images per forward pass")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that load images and draw pictures if there are several batches; without "
        "this option up to 4, which only draw if the model is on the CPU",
    )
    parser.add_argument("--device", help="such as cpu or cuda:1; an accelerator by default")
    parser.add_argument("--no-pictures", action="store_true", help="write the JSON only")
    parser.add_argument(
        "--given",
        metavar="FILE.csv",
        help="labels that are known: a CSV with the header image,given,excluded (or one of the two "
        "columns), names separated by ';', image paths relative to the file",
    )
    parser.add_argument("--attention", action="store_true", help="add the attention maps")
    add_config_options(parser)
    return parser
