"""Export a trained model to ONNX, with the file that predicts with it where there is no PyTorch."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from mmorderless.inference.images import list_images
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.onnx_export import TOLERANCE, compare, export_onnx
from mmorderless.runs.config import read_config
from mmorderless.runs.options import add_config_options


def main(argv: Sequence[str] | None = None) -> int:
    """Write FILE.onnx and onnx_inferencer.py, compare if asked to, and return the exit code."""
    args = build_parser().parse_args(argv)
    images = [image for path in args.check or () for image in list_images(path)]
    inferencer = OrderlessInferencer(
        read_config(args.config, args.cfg_options), args.checkpoint, device="cpu"
    )
    file = Path(args.out)
    export_onnx(inferencer, file, args.attention)
    reader = Path(__file__).parents[1] / "inference" / "onnx_inferencer.py"
    shutil.copy(reader, file.parent)
    print(f"{file} ({file.stat().st_size / 2**20:.1f} MiB), {file.with_name(reader.name)}")
    if not images:
        return 0
    from mmorderless.inference.onnx_inferencer import OnnxInferencer

    expected = inferencer(images, return_attention=args.attention)
    found = OnnxInferencer(file)(images, return_attention=args.attention)
    other, largest = compare(expected, found)
    differences = ", ".join(f"{name} {value:.1e}" for name, value in largest.items())
    print(f"{len(images)} images, {other} with other labels; largest difference: {differences}")
    return int(other > 0 or not all(value <= TOLERANCE for value in largest.values()))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/export.py."""
    parser = argparse.ArgumentParser(description="Export a trained model to ONNX.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--out", required=True, metavar="FILE.onnx", help="where to write")
    parser.add_argument("--attention", action="store_true", help="add the attention maps")
    parser.add_argument(
        "--check",
        nargs="+",
        metavar="IMAGE",
        help="image files or folders on which ONNX and PyTorch are compared; the exit code is 1 if "
        f"labels differ, or values by more than {TOLERANCE}",
    )
    add_config_options(parser)
    return parser
