"""What tools/train.py and tools/test.py share: options, config, processes."""

import argparse
import json
import math
import os
import re
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import distributed

from .dataset_configs import apply_val_split, check_indices
from .errors import error_line
from .methods import apply_method

# Options ----------------------------------------------------------------------------------------


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


# Config -----------------------------------------------------------------------------------------


def read_config(path: str, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file, apply its `method`, merge `--cfg-options` and apply its `val_split`.

    Options win over the method, which may be one of them.

    Args:
        path: a text or Python config of mmengine.
        cfg_options: values by dotted key.

    Raises:
        FileNotFoundError: there is no such file, or no such method.
        ValueError: a key of `cfg_options` leads into something that is not a dict or list; or see
            :func:`.methods.apply_method` and :func:`.dataset_configs.apply_val_split`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no config {path}; give the path of a config file")
    cfg = Config.fromfile(path)
    options = dict(cfg_options or {})
    if "method" in options:
        cfg.method = options.pop("method")
    apply_method(cfg)
    if options:
        try:
            cfg.merge_from_dict(options)
        except (KeyError, TypeError, IndexError, AssertionError) as error:
            raise ValueError(
                f"cannot merge --cfg-options {options}: {error_line(error)}"
            ) from error
    apply_val_split(cfg)
    check_indices(cfg)
    return cfg


def training_config(args: argparse.Namespace) -> Config:
    """Return the config of a training run with the command line's options merged in.

    Args:
        args: what :func:`training_parser` parsed.

    Raises:
        ValueError: an option does not fit the config or the machine.
        FileNotFoundError: the config or the checkpoint to resume from is missing.
    """
    cfg = read_config(args.config, args.cfg_options)
    _set_shared(cfg, args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
    if args.auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            raise ValueError(
                f"--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in {args.config}"
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        _set_resume(cfg, args.resume)
    _set_hook(cfg, "CheckpointMatchHook")
    if cfg.get("compile"):
        _set_hook(cfg, "CompileScopeHook")
    return cfg


def evaluation_config(args: argparse.Namespace) -> Config:
    """Return the config of an evaluation with the command line's options merged in.

    Args:
        args: what :func:`evaluation_parser` parsed.

    Raises:
        ValueError: an option does not fit the config or the machine.
        FileNotFoundError: the config or the checkpoint is missing.
    """
    cfg = read_config(args.config, args.cfg_options)
    if cfg.get("test_dataloader") is None:
        raise ValueError(f"{args.config} has no test_dataloader: there is nothing to evaluate on")
    if args.dump and not args.dump.endswith((".pkl", ".pickle")):
        raise ValueError(f"--dump writes a pickle; its name must end in .pkl, got {args.dump}")
    _set_shared(cfg, args)
    cfg.load_from = existing_checkpoint(args.checkpoint)
    cfg.resume = False
    if args.amp:
        cfg.test_cfg.fp16 = True
    _set_hook(cfg, "CheckpointMatchHook", complete=True)
    return cfg


def existing_checkpoint(path: str) -> str:
    """Return a checkpoint's path or address, having checked that a local file is there and whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file breaks off, or is no checkpoint.
    """
    if "://" in path:
        return path
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; give the path of a .pth file")
    with file.open("rb") as opened:
        start = opened.read(2)
    is_zip = start == b"PK"  # what torch.save writes since torch 1.6
    if not is_zip and start[:1] != b"\x80":  # a pickle, what it wrote before
        raise ValueError(
            f"{path} ({file.stat().st_size} bytes) is no checkpoint; it may be a Git LFS pointer "
            "or a web page in its place: get the file itself"
        )
    if is_zip and not zipfile.is_zipfile(file):
        raise ValueError(
            f"the checkpoint {path} ({file.stat().st_size} bytes) is damaged: writing or copying "
            "it broke off; use another one"
        )
    return path


def _set_shared(cfg: Config, args: argparse.Namespace) -> None:
    """Set what training and testing have in common."""
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = os.path.join("work_dirs", Path(args.config).stem)
    on_cpu = get_device() == "cpu"
    if args.amp and on_cpu:
        raise ValueError("--amp needs an accelerator and none was found; run without --amp")
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(name) is not None:
            _set_dataloader(cfg[name], args, on_cpu)
    _set_hook(cfg, "ClassNamesMatchHook")
    if args.launcher != "none":
        if on_cpu:
            _set_cpu_wrapper(cfg)
        # Batch norm's statistics differ between processes until they are averaged; without this
        # only the first process validates the model that is saved.
        _set_hook(cfg, "BufferAgreementHook")


def _set_dataloader(loader: ConfigDict, args: argparse.Namespace, on_cpu: bool) -> None:
    """Set a dataloader's options that depend on the machine and the command line."""
    loader.setdefault("collate_fn", dict(type="default_collate"))
    loader.setdefault("pin_memory", True)
    loader.setdefault("persistent_workers", True)
    if args.no_pin_memory or on_cpu:
        loader.pin_memory = False
    if args.no_persistent_workers or not loader.get("num_workers"):
        loader.persistent_workers = False


def _set_cpu_wrapper(cfg: Config) -> None:
    """Make the Runner wrap the model for processes on CPUs.

    mmengine passes `device_ids=[LOCAL_RANK]` as a default only; an explicit None wins.
    """
    cfg.model_wrapper_cfg = {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
        **(cfg.get("model_wrapper_cfg") or {}),
        "device_ids": None,
    }


def last_checkpoint(work_dir: str | Path) -> str | None:
    """Return the path of a training's last checkpoint, None before there is one.

    A process that is killed while it writes leaves a part of a file (mmengine writes the best
    epoch's checkpoint a second time); then it is the newest whole one.

    Args:
        work_dir: the training's folder, which may have been moved or copied since: a checkpoint
            within it comes before the one that was noted.

    Raises:
        FileNotFoundError: the checkpoint is gone.
    """
    pointer = Path(work_dir, "last_checkpoint")
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text().strip())
    within = Path(work_dir, named.name)
    last = within if within.is_file() else named
    if not last.is_file():
        raise FileNotFoundError(
            f"{pointer} names {named}, which is gone; name another with --resume CHECKPOINT"
        )
    if zipfile.is_zipfile(last):
        return str(last)
    saved = [path for path in last.parent.glob("*.pth") if re.fullmatch(r"\w+?_\d+", path.stem)]
    for path in sorted(saved, key=lambda path: int(path.stem.rpartition("_")[2]), reverse=True):
        if not path.stem.startswith("best_") and zipfile.is_zipfile(path):
            print(f"{last} is damaged: writing it broke off; taking {path} instead", flush=True)
            return str(path)
    return str(last)  # `existing_checkpoint` says what is wrong with it


def _set_resume(cfg: Config, resume: str) -> None:
    """Set the checkpoint to go on from.

    mmengine's own `resume=True` falls back to resuming from `load_from`, the weights to start with,
    when the work dir holds nothing; so the file is looked up here.
    """
    if resume == "auto":
        found = last_checkpoint(cfg.work_dir)
        if found is None:
            print(f"no checkpoint in {cfg.work_dir} yet: training starts from scratch", flush=True)
            cfg.resume = False
            return
        resume = found
        print(f"resuming from {resume}", flush=True)
    cfg.load_from = existing_checkpoint(resume)
    cfg.resume = True


def _set_hook(cfg: Config, hook_type: str, **options: Any) -> None:
    """Add a hook; one of this type that the config has already gets the options instead."""
    hooks = [
        hook | options if isinstance(hook, dict) and hook.get("type") == hook_type else hook
        for hook in cfg.get("custom_hooks") or []
    ]
    if all(hook.get("type") != hook_type for hook in hooks if isinstance(hook, dict)):
        hooks.append(dict(type=hook_type, **options))
    cfg.custom_hooks = hooks


# Processes --------------------------------------------------------------------------------------


def start_cpu_processes(launcher: str) -> None:
    """Join the processes of a distributed run without an accelerator (gloo).

    mmengine's own start calls `torch.cuda.set_device`; it is skipped when a process group exists.
    With an accelerator, or with the launcher `none`, there is nothing to do here.

    Args:
        launcher: none, pytorch, slurm or mpi.

    Raises:
        ValueError: the launcher's environment variables are missing.
    """
    if launcher == "none" or get_device() != "cpu" or distributed.is_initialized():
        return
    try:
        if launcher == "slurm":
            _set_rank("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
            os.environ.setdefault("MASTER_ADDR", _first_slurm_host())
        elif launcher == "mpi":
            _set_rank("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")
        os.environ.setdefault("MASTER_PORT", "29500")
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        os.environ["MASTER_ADDR"]
    except KeyError as missing:
        raise ValueError(
            f"--launcher {launcher} needs the environment variable {missing.args[0]}; start it "
            "with tools/dist_train.sh or tools/slurm_train.sh, or use --launcher none"
        ) from missing
    distributed.init_process_group("gloo", rank=rank, world_size=world_size)


def _set_rank(rank: str, world_size: str, local_rank: str) -> None:
    """Give torch's names to a launcher's environment variables."""
    os.environ["RANK"] = os.environ[rank]
    os.environ["WORLD_SIZE"] = os.environ[world_size]
    os.environ["LOCAL_RANK"] = os.environ.get(local_rank, "0")


def _first_slurm_host() -> str:
    names = os.environ["SLURM_NODELIST"]
    if not re.search(r"[\[,]", names):
        return names
    command = ["scontrol", "show", "hostnames", names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def build_runner(cfg: Config) -> Runner:
    """Start the run's processes and build its Runner.

    Args:
        cfg: the config of :func:`training_config` or :func:`evaluation_config`.
    """
    start_cpu_processes(cfg.launcher)
    return Runner.from_cfg(cfg) if "runner_type" not in cfg else RUNNERS.build(cfg)


# Tools ------------------------------------------------------------------------------------------


def train(argv: Sequence[str] | None = None) -> None:
    """Train: the whole of tools/train.py.

    Args:
        argv: the command line's arguments.
    """
    args = training_parser().parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    build_runner(training_config(args)).train()


def evaluate(argv: Sequence[str] | None = None) -> None:
    """Evaluate: the whole of tools/test.py.

    Args:
        argv: the command line's arguments.
    """
    args = evaluation_parser().parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    runner = build_runner(evaluation_config(args))
    if args.dump:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.dump))
    metrics = runner.test()
    if args.out and is_main_process():
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(metrics_json(metrics))


def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Write metrics as JSON; a value that is not a number (nan) becomes null.

    Args:
        metrics: name → a number of Python, numpy or torch, or a list of these.
    """

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps({name: plain(value) for name, value in metrics.items()}, indent=2) + "\n"
