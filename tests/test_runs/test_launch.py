"""Options of tools/train.py and tools/test.py change a config."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmorderless.commands.test import metrics_json
from mmorderless.commands.train import train
from mmorderless.runs import launch
from mmorderless.runs.options import parse_evaluation_options, parse_training_options

CONFIG = """
default_scope = 'mmpretrain'
model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18))
loader = dict(batch_size=2, num_workers=2, dataset=dict(type='CustomDataset'))
train_dataloader = val_dataloader = test_dataloader = loader
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
val_evaluator = test_evaluator = dict(type='LabelSetMetric')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
load_from = 'start.pth'
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(CONFIG)
    return "tiny.py"


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    monkeypatch.setattr(launch, "get_device", lambda: "cpu")


def training(*options: str):
    return launch.training_config(parse_training_options(options))


def evaluation(*options: str):
    return launch.evaluation_config(parse_evaluation_options(options))


def hook_types(cfg) -> list[str]:
    return [hook["type"] for hook in cfg.custom_hooks]


def test_missing_config_names_the_path():
    with pytest.raises(FileNotFoundError, match=r"there is no config nowhere\.py; give"):
        training("nowhere.py")


def test_work_dir_is_the_option_or_the_config_or_its_name(config):
    assert training(config).work_dir == "work_dirs/tiny"
    assert training(config, "--cfg-options", "work_dir=a").work_dir == "a"
    assert training(config, "--cfg-options", "work_dir=a", "--work-dir", "b").work_dir == "b"


def test_cfg_options_are_merged(config):
    cfg = training(config, "--cfg-options", "model.backbone.depth=50", "train_cfg.max_epochs=3")
    assert (cfg.model.backbone.depth, cfg.train_cfg.max_epochs) == (50, 3)


def test_cfg_options_that_lead_nowhere_are_a_value_error(config):
    with pytest.raises(ValueError, match=r"--cfg-options .*default_scope\.a"):
        training(config, "--cfg-options", "default_scope.a=1")


def test_no_validate(config):
    cfg = training(config, "--no-validate")
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


def test_auto_scale_lr(config):
    with pytest.raises(ValueError, match="auto_scale_lr=dict"):
        training(config, "--auto-scale-lr")
    base = ("--cfg-options", "auto_scale_lr.base_batch_size=32")
    assert training(config, "--auto-scale-lr", *base).auto_scale_lr.enable is True


def test_amp_needs_an_accelerator(config, monkeypatch):
    torch.save({}, "a.pth")
    for run in (lambda: training(config, "--amp"), lambda: evaluation(config, "a.pth", "--amp")):
        with pytest.raises(ValueError, match="--amp needs an accelerator"):
            run()
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    for run in (training(config, "--amp"), evaluation(config, "a.pth", "--amp")):
        assert run.autocast_dtype == "float16"


def test_amp_trains_and_evaluates_in_its_type(config, monkeypatch):
    torch.save({}, "a.pth")
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    dtype = ("--cfg-options", "optim_wrapper.dtype=bfloat16")
    for amp, scale, name in [
        (("--amp",), "dynamic", "float16"),
        (("--amp", "fp16"), "dynamic", "float16"),
        (("--amp", "bf16"), dict(enabled=False), "bfloat16"),
        (("--amp", *dtype), dict(enabled=False), "bfloat16"),
    ]:
        cfg = training(config, *amp)
        wrapper = cfg.optim_wrapper
        assert (wrapper.type, wrapper.loss_scale) == ("AmpOptimWrapper", scale)
        assert wrapper.dtype == cfg.autocast_dtype == name
        assert cfg.val_cfg.fp16 is True
    cfg = evaluation(config, "a.pth", "--amp", "bf16")
    assert (cfg.test_cfg.fp16, cfg.autocast_dtype) == (True, "bfloat16")
    assert training(config, "--amp", "--no-validate").val_cfg is None
    without = training(config)
    assert "autocast_dtype" not in without
    assert "fp16" not in without.val_cfg


def test_unknown_type_of_amp_is_an_error(config, capsys):
    with pytest.raises(SystemExit):
        training(config, "--amp", "fp8")
    assert "--amp: invalid choice: 'fp8' (choose from" in capsys.readouterr().err


def test_a_deterministic_run_sets_the_workspace_of_cublas(monkeypatch):
    monkeypatch.setattr(launch.CheckedRunner, "from_cfg", lambda cfg: None)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    launch.build_runner(Config(dict(launcher="none", randomness=dict(seed=0))))
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    deterministic = Config(dict(launcher="none", randomness=dict(deterministic=True)))
    launch.build_runner(deterministic)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    launch.build_runner(deterministic)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_dataloaders_fit_the_machine(config, monkeypatch):
    loader = training(config).train_dataloader
    assert (loader.pin_memory, loader.persistent_workers) == (False, True)
    without_workers = ("--cfg-options", "train_dataloader.num_workers=0")
    assert training(config, *without_workers).train_dataloader.persistent_workers is False
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    assert training(config).train_dataloader.pin_memory is True
    loader = training(config, "--no-pin-memory", "--no-persistent-workers").val_dataloader
    assert (loader.pin_memory, loader.persistent_workers) == (False, False)


def test_compile_becomes_a_hook_for_the_backbone(config):
    for value, options in [("True", {}), ("dict(backend='eager')", {"backend": "eager"})]:
        Path("compiled.py").write_text(f"{CONFIG}\ncompile = {value}")
        cfg = training("compiled.py")
        assert cfg.custom_hooks[-1] == dict(type="CompileBackboneHook", **options)
        assert "compile" not in cfg  # mmengine would compile the whole train_step
    cfg = training("compiled.py", "--cfg-options", "compile=False")
    assert "CompileBackboneHook" not in hook_types(cfg)
    with pytest.raises(ValueError, match=r"compile must be True or dict.*got 'inductor'"):
        training(config, "--cfg-options", "compile=inductor")


def test_resume_auto_without_a_checkpoint_starts_from_the_configs_weights(config, capsys):
    cfg = training(config, "--resume")
    assert (cfg.resume, cfg.load_from) == (False, "start.pth")
    assert "no whole checkpoint in work_dirs/tiny" in capsys.readouterr().out


def test_resume_auto_takes_the_last_checkpoint(config, tmp_path):
    (tmp_path / "w").mkdir()
    torch.save({}, tmp_path / "w/epoch_2.pth")
    (tmp_path / "w/last_checkpoint").write_text(str(tmp_path / "w/epoch_2.pth"))
    cfg = training(config, "--work-dir", "w", "--resume")
    assert (cfg.resume, cfg.load_from) == (True, "w/epoch_2.pth")
    # A copied folder resumes from its own checkpoint, although the recorded path exists.
    shutil.copytree("w", "copy")
    cfg = training(config, "--work-dir", "copy", "--resume")
    assert cfg.load_from == "copy/epoch_2.pth"
    (
        tmp_path / "copy/epoch_2.pth"
    ).unlink()  # checkpoints may be in another folder (CheckpointHook's out_dir)
    cfg = training(config, "--work-dir", "copy", "--resume")
    assert cfg.load_from == str(tmp_path / "w/epoch_2.pth")
    # The folder has moved: the recorded path is missing, but the folder has the file.
    (tmp_path / "w").rename(tmp_path / "moved")
    cfg = training(config, "--work-dir", "moved", "--resume", "auto")
    assert cfg.load_from == "moved/epoch_2.pth"
    (tmp_path / "moved/epoch_2.pth").unlink()
    assert not training(config, "--work-dir", "moved", "--resume").resume


def test_a_work_dir_that_is_not_utf8_is_an_error(config):
    assert training(config, "--work-dir", "caf\xe9").work_dir == "caf\xe9"
    with pytest.raises(ValueError, match=r"'caf\\udce9', no UTF-8 name; give another --work-dir"):
        training(config, "--work-dir", "caf\udce9")


def test_resume_in_a_config_is_that_of_the_command_line(config, tmp_path):
    folder = tmp_path / "work_dirs" / "tiny"
    folder.mkdir(parents=True)
    torch.save({}, folder / "epoch_1.pth")
    (folder / "last_checkpoint").touch()
    options = ["--cfg-options", "resume=True"]
    assert training(config, *options).load_from == "start.pth"
    cfg = training(config, *options, "load_from=None")
    assert (cfg.resume, cfg.load_from) == (True, "work_dirs/tiny/epoch_1.pth")
    (folder / "epoch_1.pth").unlink()
    assert not training(config, *options, "load_from=None").resume


def test_every_checkpoint_hook_writes_whole_files(config):
    # Without default_hooks mmengine saves every epoch.
    assert training(config).default_hooks.checkpoint == dict(type="WholeCheckpointHook", interval=1)
    by_iteration = "dict(type='CheckpointHook', by_epoch=False, interval=5)"
    Path("both.py").write_text(
        f"_base_ = ['tiny.py']\ncustom_hooks = [{by_iteration}, dict(type='EMAHook')]\n"
        "default_hooks = dict(checkpoint=dict(type='mmengine.CheckpointHook', max_keep_ckpts=1))"
    )
    cfg = training("both.py")
    whole = dict(type="WholeCheckpointHook")
    assert cfg.default_hooks.checkpoint == whole | dict(max_keep_ckpts=1)
    assert cfg.custom_hooks[0] == whole | dict(by_epoch=False, interval=5)
    assert cfg.custom_hooks[1].type == "EMAHook"
    pure = CONFIG + "default_hooks = dict(checkpoint=dict(type=CheckpointHook))"
    Path("pure.py").write_text("from mmengine.hooks import CheckpointHook\n" + pure)
    assert training("pure.py").default_hooks.checkpoint == whole
    assert training("both.py", "--cfg-options", "default_hooks.checkpoint=None").default_hooks == {
        "checkpoint": None
    }


def test_resume_auto_skips_a_truncated_checkpoint(config, tmp_path, capsys):
    folder = tmp_path / "work_dirs" / "tiny"
    folder.mkdir(parents=True)
    for name in ("epoch_9", "epoch_10", "epoch_11", "best_set_OF1_epoch_12"):
        torch.save({"weight": torch.zeros(1000)}, folder / f"{name}.pth")
    torn = folder / "epoch_11.pth"
    torn.write_bytes(torn.read_bytes()[:2000])
    (folder / "last_checkpoint").write_text(str(torn))
    cfg = training(config, "--resume")
    assert cfg.resume
    assert Path(cfg.load_from).name == "epoch_10.pth"
    out = capsys.readouterr().out
    assert re.search(r"epoch_11\.pth', missing or damaged; using \S*epoch_10\.pth", out)
    for path in folder.glob("*.pth"):  # none is whole
        path.write_bytes(path.read_bytes()[:2000])
    assert not training(config, "--resume").resume
    assert "starting from scratch" in capsys.readouterr().out


def test_resume_auto_takes_the_last_written_of_epochs_and_iterations(config, tmp_path):
    folder = tmp_path / "work_dirs" / "tiny"
    folder.mkdir(parents=True)
    (folder / "last_checkpoint").touch()
    for seconds, name in enumerate(("epoch_1", "iter_30", "iter_40", "epoch_2")):
        torch.save({}, folder / f"{name}.pth")
        os.utime(folder / f"{name}.pth", (seconds, seconds))
    # An iteration's checkpoint at the end of an epoch repeats it without DeterministicResumeHook.
    assert Path(training(config, "--resume").load_from).name == "epoch_2.pth"
    (folder / "epoch_2.pth").write_bytes(b"PK")
    assert Path(training(config, "--resume").load_from).name == "iter_40.pth"


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"/gone/epoch_7.pth\n", b"x" * 5000])
def test_resume_auto_needs_no_pointer_that_is_whole(config, tmp_path, content):
    folder = tmp_path / "work_dirs" / "tiny"
    folder.mkdir(parents=True)
    for name in ("epoch_9", "epoch_10", "weights_11"):
        torch.save({"weight": torch.zeros(1000)}, folder / f"{name}.pth")
    torch.save({}, tmp_path / "epoch_99.pth")  # of another run, in the working directory
    (folder / "last_checkpoint").write_bytes(content)
    assert Path(training(config, "--resume").load_from) == Path("work_dirs/tiny/epoch_10.pth")


def test_resume_from_a_named_checkpoint(config, tmp_path):
    torch.save({}, tmp_path / "a.pth")
    cfg = training(config, "--resume", "a.pth")
    assert (cfg.resume, cfg.load_from) == (True, "a.pth")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint b\.pth"):
        training(config, "--resume", "b.pth")


def test_evaluation_loads_the_checkpoint_and_never_resumes(config, tmp_path):
    torch.save({}, tmp_path / "a.pth")
    cfg = evaluation(config, "a.pth", "--cfg-options", "resume=True")
    assert (cfg.resume, cfg.load_from) == (False, "a.pth")
    assert {"type": "CheckpointMatchHook", "complete": True} in cfg.custom_hooks
    with pytest.raises(FileNotFoundError, match=r"no checkpoint b\.pth"):
        evaluation(config, "b.pth")
    with pytest.raises(ValueError, match=r"must end in \.pkl, got a\.json"):
        evaluation(config, "a.pth", "--dump", "a.json")
    with pytest.raises(ValueError, match="no test_dataloader"):
        evaluation(config, "a.pth", "--cfg-options", "test_dataloader=None")


def test_truncated_checkpoint_is_an_error(config, tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"checkpoint a\.pth \(\d+ bytes\) is damaged"):
        evaluation(config, "a.pth")
    torch.save({"state_dict": {}}, "old.pth", _use_new_zipfile_serialization=False)
    assert evaluation(config, "old.pth").load_from == "old.pth"
    assert evaluation(config, "https://host/a.pth").load_from == "https://host/a.pth"


def test_the_tools_add_every_check_once(config):
    own = ["TrainingLabelsHook", "ScoreNamesHook", "FiniteLossHook"]
    assert hook_types(training(config)) == ["ClassNamesMatchHook", "CheckpointMatchHook", *own]
    with open(config, "a") as file:
        file.write("custom_hooks = [dict(type='CheckpointMatchHook'), dict(type='EMAHook')]")
    own = ["CheckpointMatchHook", "EMAHook", "ClassNamesMatchHook", *own]
    assert hook_types(training(config)) == own
    torch.save({}, "a.pth")
    match, *_ = evaluation(config, "a.pth").custom_hooks
    assert match == dict(type="CheckpointMatchHook", complete=True)


def test_processes_on_cpus_wrap_the_model_without_devices(config, monkeypatch):
    options = (config, "--launcher", "pytorch", "--cfg-options", "find_unused_parameters=True")
    cfg = training(*options)
    assert cfg.model_wrapper_cfg == dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=True,
        device_ids=None,
    )
    assert "BufferAgreementHook" in hook_types(cfg)
    cfg = training(*options, "model_wrapper_cfg.broadcast_buffers=True")
    assert cfg.model_wrapper_cfg.broadcast_buffers is True
    assert cfg.model_wrapper_cfg.device_ids is None
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    assert "model_wrapper_cfg" not in training(*options)


def test_metrics_json_has_null_for_nonfinite_values():
    metrics = {"a": np.float32(0.5), "b": float("nan"), "c": torch.tensor([1, 2]), "d": 3}
    expected = {"a": 0.5, "b": None, "c": [1, 2], "d": 3}
    assert json.loads(metrics_json(metrics)) == expected
    assert json.loads(metrics_json({"rows": [metrics]})) == {"rows": [expected]}


def test_cfg_options_keep_spaces_in_paths_and_read_lists(config, capsys):
    options = ["load_from=/a b/x y.pth", "key=[1, 2]", "other=(3,4)", "flag=True", "rate=1e-3"]
    cfg = training(config, "--cfg-options", *options)
    assert cfg.load_from == "/a b/x y.pth"
    assert (cfg.key, cfg.other, cfg.flag, cfg.rate) == ([1, 2], (3, 4), True, 1e-3)
    with pytest.raises(SystemExit):
        training(config, "--cfg-options", "foo")
    assert "--cfg-options expects KEY=VALUE, got 'foo'" in capsys.readouterr().err


def test_views_of_the_test_images(config, tmp_path):
    torch.save({}, "a.pth")
    with pytest.raises(ValueError, match=r"CustomDataset has no pipeline .*; test a config with"):
        evaluation(config, "a.pth", "--tta")
    load, pack = dict(type="LoadImage"), dict(type="PackInputs")
    with open(config, "a") as file:
        file.write(f"loader['dataset']['pipeline'] = [{load}, {pack}]")
    cfg = evaluation(config, "a.pth", "--tta", "--cfg-options", "model.backbone.depth=50")
    assert (cfg.model.type, cfg.model.module.backbone.depth) == ("LabelSetTTA", 50)
    flips = [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)]
    views = dict(type="TestTimeAug", transforms=[flips, [pack]])
    assert cfg.test_dataloader.dataset.pipeline == [load, views]
    assert cfg.val_dataloader.dataset.pipeline == [load, pack]
    with open(config, "a") as file:
        file.write("\ntta_model = dict(type='AverageClsScoreTTA')\n")
        file.write(f"tta_pipeline = {[load, dict(type='TestTimeAug', transforms=[[pack]])]}\n")
        file.write("test_dataloader = dict(dataset=dict(type='DatasetPart', **loader))")
    cfg = evaluation(config, "a.pth", "--tta")
    assert cfg.model.type == "AverageClsScoreTTA"
    assert cfg.test_dataloader.dataset.dataset.pipeline == cfg.tta_pipeline


def test_the_printed_config_is_that_of_the_run(config, capsys):
    with open(config, "a") as file:
        file.write("model['head'] = dict(type='OrderlessRNNHead', num_classes=3, in_channels=512)")
    options = [config, "--cfg-options", "train_cfg.max_epochs=3", "method=bce", "work_dir=w"]
    train(["--print-config", *options])
    printed = Config.fromstring(capsys.readouterr().out, ".py")
    assert printed.model.head.type == "MultiLabelLinearClsHead"
    assert printed.train_cfg.max_epochs == 3
    assert printed.to_dict() == training(*options).to_dict()
    assert not Path("w").exists()
