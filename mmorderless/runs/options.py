"""Command-line options that the tools share."""

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction


class ConfigOptions(DictAction):
    """mmengine's action for `--cfg-options`, which keeps blanks in a plain value (a path)."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Collect KEY=VALUE pairs into a dict."""
        options = {}
        for value in values:
            key, separator, text = value.partition("=")
            if not separator:
                parser.error(f"{option_string} expects KEY=VALUE, got {value!r}")
            structured = any(sign in text for sign in ",[]()")
            parse = self._parse_iterable if structured else self._parse_int_float_bool
            options[key] = parse(text)
        setattr(namespace, self.dest, options)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options`, which every tool that reads a config has."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        metavar="KEY=VALUE",
        help="settings of the config to override, such as train_dataloader.batch_size=8 or "
        'key="[a,b]" (no white space)',
    )


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work-dir", help="folder for logs, checkpoints and reports")
    parser.add_argument(
        "--amp", action="store_true", help="automatic mixed precision (needs an accelerator)"
    )
    parser.add_argument(
        "--no-pin-memory", action="store_true", help="do not pin the dataloaders' memory"
    )
    parser.add_argument(
        "--no-persistent-workers",
        action="store_true",
        help="start the dataloaders' workers anew each epoch",
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started the processes of a distributed run",
    )
    # torch.distributed.launch passes --local-rank or, before torch 2.0, --local_rank.
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0)


def training_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/train.py."""
    parser = argparse.ArgumentParser(description="Train a model.")
    parser.add_argument("config", help="config file")
    _add_launch_options(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint; without a value (or with auto) from the work dir's last "
        "one, or from scratch when there is none",
    )
    parser.add_argument("--no-validate", action="store_true", help="train without validation")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the batch size over auto_scale_lr.base_batch_size",
    )
    add_config_options(parser)
    return parser


def evaluation_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/test.py."""
    parser = argparse.ArgumentParser(description="Evaluate a checkpoint.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    _add_launch_options(parser)
    parser.add_argument("--out", metavar="FILE.json", help="write the metrics to this file")
    parser.add_argument("--dump", metavar="FILE.pkl", help="write the predictions to this file")
    add_config_options(parser)
    return parser
