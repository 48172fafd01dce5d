"""Turn a config and command-line options into a Runner, for training and evaluation."""

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmorderless.datasets.partition import nested_datasets
from mmorderless.runs.checked_runner import CheckedRunner
from mmorderless.runs.checkpoint_files import existing_checkpoint, last_checkpoint
from mmorderless.runs.config import read_config
from mmorderless.runs.distributed import prepare_processes

AMP_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}

CHECKPOINT_HOOKS = ("CheckpointHook", "mmengine.CheckpointHook", CheckpointHook)
"""How a config names mmengine's hook, which the Runner also adds to a config without one."""


@dataclass
class LaunchOptions:
    """Options that tools/train.py and tools/test.py share; runs/options.py describes them."""

    config: str
    cfg_options: dict[str, Any] | None = None
    work_dir: str | None = None
    amp: str | None = None
    no_pin_memory: bool = False
    no_persistent_workers: bool = False
    launcher: str = "none"
    local_rank: int = 0


@dataclass
class TrainingOptions(LaunchOptions):
    """Options of tools/train.py."""

    resume: str | None = None
    no_validate: bool = False
    auto_scale_lr: bool = False
    print_config: bool = False


@dataclass
class EvaluationOptions(LaunchOptions):
    """Options of tools/test.py."""

    checkpoint: str = ""
    out: str | None = None
    dump: str | None = None
    tta: bool = False


def training_config(options: TrainingOptions) -> Config:
    """Read the config of a training run and apply the command line's options.

    Raises:
        ValueError: an option does not fit the config or the machine.
        FileNotFoundError: the config or the checkpoint to resume from is missing.
    """
    cfg = read_config(options.config, options.cfg_options)
    _set_shared(cfg, options)
    if options.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if options.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        dtype = cfg.optim_wrapper.setdefault("dtype", AMP_DTYPES[options.amp])
        # bf16 has the range of fp32: no gradient underflows.
        scale = "dynamic" if dtype == "float16" else dict(enabled=False)
        cfg.optim_wrapper.setdefault("loss_scale", scale)
        cfg.autocast_dtype = dtype
        if cfg.get("val_cfg") is not None:
            cfg.val_cfg.fp16 = True  # in `autocast_dtype`
    if options.auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            raise ValueError(
                f"--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in {options.config}"
            )
        cfg.auto_scale_lr.enable = True
    if options.resume is not None:
        _set_resume(cfg, options.resume)
    elif cfg.get("resume") and cfg.get("load_from") is None:
        _set_resume(cfg, "auto")
    _set_checkpoint_hooks(cfg)
    _set_hook(cfg, "CheckpointMatchHook")
    for hook in ("TrainingLabelsHook", "ScoreNamesHook", "FiniteLossHook"):
        _set_hook(cfg, hook)
    _set_compile(cfg)
    return cfg


def evaluation_config(options: EvaluationOptions) -> Config:
    """Read the config of an evaluation and apply the command line's options.

    Raises:
        ValueError: an option does not fit the config or the machine.
        FileNotFoundError: the config or the checkpoint is missing.
    """
    cfg = read_config(options.config, options.cfg_options)
    if cfg.get("test_dataloader") is None:
        raise ValueError(
            f"{options.config} has no test_dataloader: there is nothing to evaluate on"
        )
    if options.dump and not options.dump.endswith((".pkl", ".pickle")):
        raise ValueError(f"--dump writes a pickle; its name must end in .pkl, got {options.dump}")
    _set_shared(cfg, options)
    cfg.load_from = existing_checkpoint(options.checkpoint)
    cfg.resume = False
    if options.amp:
        cfg.test_cfg.fp16 = True  # in `autocast_dtype`
        cfg.autocast_dtype = AMP_DTYPES[options.amp]
    _set_hook(cfg, "CheckpointMatchHook", complete=True)
    if options.tta:
        _set_tta(cfg)
    return cfg


def _set_tta(cfg: Config) -> None:
    """Test on several views of each image, by `tta_model` and `tta_pipeline` as in mmpretrain.

    Without these keys the views are the image and its mirror image, merged by `LabelSetTTA`. The
    last transform of the test pipeline packs each view.
    """
    loader = cfg.test_dataloader = copy.deepcopy(cfg.test_dataloader)
    dataset = nested_datasets(loader.dataset)[-1]
    if not dataset.get("pipeline"):
        raise ValueError(
            f"--tta changes images, and the test dataset {dataset.get('type')} has no pipeline "
            "that loads any; test a config with images end to end, or leave --tta out"
        )
    *load, pack = dataset.pipeline
    flips = [dict(type="RandomFlip", prob=prob) for prob in (0.0, 1.0)]
    views = dict(type="TestTimeAug", transforms=[flips, [pack]])
    dataset.pipeline = cfg.get("tta_pipeline") or [*load, views]
    cfg.model = ConfigDict(**(cfg.get("tta_model") or dict(type="LabelSetTTA")), module=cfg.model)


def _set_shared(cfg: Config, options: LaunchOptions) -> None:
    """Apply the options that training and testing share."""
    cfg.launcher = options.launcher
    if options.work_dir is not None:
        cfg.work_dir = options.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = os.path.join("work_dirs", Path(cfg.filename).stem)
    if os.fsencode(cfg.work_dir) != cfg.work_dir.encode(errors="replace"):
        raise ValueError(
            f"mmengine cannot write to {cfg.work_dir!r}, no UTF-8 name; give another --work-dir"
        )
    on_cpu = get_device() == "cpu"
    if options.amp and on_cpu:
        raise ValueError("--amp needs an accelerator and none was found; run without --amp")
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(name) is not None:
            _set_dataloader(cfg[name], options, on_cpu)
    _set_hook(cfg, "ClassNamesMatchHook")
    if options.launcher != "none":
        if on_cpu:
            _set_cpu_wrapper(cfg)
        # Batch-norm statistics differ between processes until they are averaged; without this
        # only the first process validates the model that is saved.
        _set_hook(cfg, "BufferAgreementHook")


def _set_dataloader(loader: ConfigDict, options: LaunchOptions, on_cpu: bool) -> None:
    """Set the dataloader options that depend on the machine and the command line."""
    loader.setdefault("collate_fn", dict(type="default_collate"))
    loader.setdefault("pin_memory", True)
    loader.setdefault("persistent_workers", True)
    if options.no_pin_memory or on_cpu:
        loader.pin_memory = False
    if options.no_persistent_workers or not loader.get("num_workers"):
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


def _set_compile(cfg: Config) -> None:
    """Replace mmengine's option `compile` by a hook that compiles the backbone alone.

    mmengine compiles the whole `train_step`, in which label sets, alignment and learning rates
    change from batch to batch and cause recompilation; and TorchDynamo cannot trace the autocast
    context of `AmpOptimWrapper`.
    """
    options = cfg.pop("compile", None)
    if options is True:
        options = {}
    if options is None or options is False:
        return
    if not isinstance(options, dict):
        raise ValueError(
            f"compile must be True or dict(...) of torch.compile's options, got {options!r}"
        )
    _set_hook(cfg, "CompileBackboneHook", **options)


def _set_resume(cfg: Config, resume: str) -> None:
    """Set the checkpoint to resume from.

    The file is looked up here because mmengine's `resume=True` resumes from `load_from`, the
    weights to start with, when the work dir holds no checkpoint.
    """
    found = last_checkpoint(cfg.work_dir) if resume == "auto" else existing_checkpoint(resume)
    cfg.resume = found is not None
    if found is None:
        print(f"no whole checkpoint in {cfg.work_dir}: starting from scratch", flush=True)
        return
    if resume == "auto":
        print(f"resuming from {found}", flush=True)
    cfg.load_from = found


def _set_checkpoint_hooks(cfg: Config) -> None:
    """Replace every CheckpointHook by a WholeCheckpointHook with the same options."""

    def whole(hook: Any) -> Any:
        is_mmengines = isinstance(hook, dict) and hook.get("type") in CHECKPOINT_HOOKS
        return {**hook, "type": "WholeCheckpointHook"} if is_mmengines else hook

    hooks = {
        "checkpoint": dict(type="CheckpointHook", interval=1),
        **(cfg.get("default_hooks") or {}),
    }
    cfg.default_hooks = {name: whole(hook) for name, hook in hooks.items()}
    cfg.custom_hooks = [whole(hook) for hook in cfg.get("custom_hooks") or []]


def _set_hook(cfg: Config, hook_type: str, **options: Any) -> None:
    """Add a hook, or set the options of the hook of this type that the config already has."""
    hooks = [
        hook | options if isinstance(hook, dict) and hook.get("type") == hook_type else hook
        for hook in cfg.get("custom_hooks") or []
    ]
    if all(hook.get("type") != hook_type for hook in hooks if isinstance(hook, dict)):
        hooks.append(dict(type=hook_type, **options))
    cfg.custom_hooks = hooks


def build_runner(cfg: Config) -> Runner:
    """Join the run's processes and build its Runner.

    Args:
        cfg: what `training_config` or `evaluation_config` returned.
    """
    if (cfg.get("randomness") or {}).get("deterministic"):
        # Without it cuBLAS, which reads it when CUDA starts, raises an error.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if "autocast_dtype" in cfg:  # of validation and testing, which have no setting of their own
        torch.set_autocast_dtype(get_device(), getattr(torch, cfg.autocast_dtype))
    prepare_processes(cfg.launcher)
    return CheckedRunner.from_cfg(cfg) if "runner_type" not in cfg else RUNNERS.build(cfg)
