"""Parse the command-line options that several tools share."""

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from mmorderless.runs.launch import AMP_DTYPES, EvaluationOptions, TrainingOptions


class ConfigOptions(DictAction):
    """mmengine's action for `--cfg-options`, except that plain values (paths) keep their spaces."""

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
    """Add `--cfg-options`, which all tools that read a config have."""
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
        "--amp",
        nargs="?",
        const="fp16",
        choices=list(AMP_DTYPES),
        help="automatic mixed precision in this type, fp16 if none is given (needs an accelerator)",
    )
    parser.add_argument(
        "--no-pin-memory", action="store_true", help="do not pin the dataloaders' memory"
    )
    parser.add_argument(
        "--no-persistent-workers",
        action="store_true",
        help="restart the dataloaders' workers each epoch",
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        help="what started the processes of a distributed run",
    )
    # torch.distributed.launch passes --local-rank or, before torch 2.0, --local_rank.
    parser.add_argument("--local-rank", "--local_rank", type=int)


def parse_training_options(argv: Sequence[str] | None = None) -> TrainingOptions:
    """Parse the command line of tools/train.py.

    Args:
        argv: the arguments; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Train a model.")
    parser.add_argument("config", help="config file")
    _add_launch_options(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from this checkpoint; without a value (or with auto) from the last one in the "
        "work dir, or start from scratch when there is none",
    )
    parser.add_argument("--no-validate", action="store_true", help="train without validation")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the batch size over auto_scale_lr.base_batch_size",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the config of the run, and do not train"
    )
    add_config_options(parser)
    # argparse takes the defaults from the attributes of the object that it fills.
    return parser.parse_args(argv, TrainingOptions(""))


def parse_evaluation_options(argv: Sequence[str] | None = None) -> EvaluationOptions:
    """Parse the command line of tools/test.py.

    Args:
        argv: the arguments; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Evaluate a checkpoint.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    _add_launch_options(parser)
    parser.add_argument("--out", metavar="FILE.json", help="write the metrics to this file")
    parser.add_argument("--dump", metavar="FILE.pkl", help="write the predictions to this file")
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test on several views of each image, by the config's tta_pipeline and tta_model; "
        "without these on the image and its mirror image",
    )
    add_config_options(parser)
    return parser.parse_args(argv, EvaluationOptions(""))
