"""What tools/train.py and tools/test.py share: options, config, processes."""

import argparse
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmorderless.runs.checkpoint_files import existing_checkpoint, last_checkpoint
from mmorderless.runs.config import read_config
from mmorderless.runs.distributed import start_cpu_processes


def training_config(args: argparse.Namespace) -> Config:
    """Return the config of a training run with the command line's options merged in.

    Args:
        args: what `training_parser` parsed.

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
        args: what `evaluation_parser` parsed.

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


def build_runner(cfg: Config) -> Runner:
    """Start the run's processes and build its Runner.

    Args:
        cfg: the config of `training_config` or `evaluation_config`.
    """
    start_cpu_processes(cfg.launcher)
    return Runner.from_cfg(cfg) if "runner_type" not in cfg else RUNNERS.build(cfg)
