"""The command line of tools/compare.py, without the runs."""

import shutil

import pytest

from mmorderless.commands import compare as command
from mmorderless.comparison.evaluation.trained import CONFIG
from mmorderless.comparison.plan import METHODS, NEED_IMAGES, read_comparison_record
from mmorderless.comparison.runs import method_config
from mmorderless.runs.processes import exclusive
from mmorderless.runs.records import write_text

DIGITS = "digits/pla_digits"


@pytest.fixture
def compare(tmp_path, repository, monkeypatch):
    """Call the tool, and collect its runs instead of executing them."""
    collected = []

    def train_and_evaluate(runs, configs, max_workers, lock):
        collected.append([str(run) for run in runs])
        return []

    monkeypatch.setattr(command, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(command, "time_methods", lambda runs, lock: [])
    monkeypatch.setattr(command, "evaluate_prior", lambda cfg: {})
    for name in ("load_comparison", "write_tables", "write_runs", "write_page"):
        monkeypatch.setattr(command, name, lambda folder: folder)

    def call(*words, config=DIGITS):
        path = str(repository / f"configs/{config}.py")
        argv = [path, "--work-dir", str(tmp_path / "c"), *words]
        return command.compare(argv)

    call.collected = collected
    call.folder = tmp_path / "c"
    return call


def test_methods_and_seeds_can_be_added(compare, repository):
    assert compare("--methods", "bce", "pla", "--seeds", "0") == 0
    assert compare("--methods", "mla", "--seeds", "1") == 0
    assert compare.collected == [["bce seed 0", "pla seed 0"], ["mla seed 1"]]
    record = read_comparison_record(compare.folder)
    assert record["dataset"] == str(repository / "configs/digits/pla_digits.py")
    assert record["methods"] == ["bce", "pla", "mla"]
    assert record["seeds"] == [0, 1]
    assert record["options"] == {
        "epochs": None,
        "val_split": 0.1,
        "cfg_options": {},
        "method_options": {},
    }


def test_options_of_one_method(compare, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        command, "train_and_evaluate", lambda runs, configs, *_: seen.update(configs) or []
    )
    own = ["--method-options", "order_search", "model.head.loss.uniform_steps=7"]
    own += ["optim_wrapper.optimizer.betas=(0.8,0.9)"]
    methods = ["--methods", "order_search", "pla", "--seeds", "0"]
    for _ in range(2):  # the same command resumes
        assert compare(*methods, *own) == 0
    assert seen["order_search"].optim_wrapper.optimizer.betas == (0.8, 0.9)
    assert seen["order_search"].model.head.loss.uniform_steps == 7
    assert "uniform_steps" not in seen["pla"].model.head.loss
    recorded = read_comparison_record(compare.folder)["options"]["method_options"]
    assert recorded == {
        "order_search": {
            "model.head.loss.uniform_steps": 7,
            "optim_wrapper.optimizer.betas": [0.8, 0.9],
        }
    }
    with pytest.raises(ValueError, match="options of order_search"):
        compare(*methods)
    with pytest.raises(ValueError, match="expects one of --methods and KEY=VALUE, got bce a=1"):
        compare(*methods, "--method-options", "bce", "a=1")


def test_a_folder_is_locked_during_a_comparison(compare):
    with exclusive(compare.folder):
        with pytest.raises(ValueError, match=f"process .* writes to {compare.folder};.*--work-dir"):
            compare("--methods", "pla")
        assert compare("--methods", "pla", "--report-only") == 0
    assert compare("--methods", "pla") == 0


@pytest.mark.parametrize(
    "words, config, difference",
    [
        (["--epochs", "3"], DIGITS, "train_cfg.max_epochs: 16 → 3"),
        (["--val-split", "0.5"], DIGITS, "num_splits: 10 → 2"),
        (["--cfg-options", "train_dataloader.batch_size=7"], DIGITS, "batch_size: 64 → 7"),
        (["--cfg-options", "load_from=x.pth"], DIGITS, "load_from: None → x.pth"),
        ([], "photos/pla_lite0_photos_cached", "data_preprocessor.mean"),
    ],
)
def test_other_settings_are_refused_in_one_line(compare, words, config, difference):
    compare("--methods", "pla")
    with pytest.raises(ValueError, match="holds a comparison with other settings") as refused:
        compare("--methods", "pla", *words, config=config)
    assert difference in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(compare.collected) == 1


def test_a_method_with_changed_settings_is_refused(compare, repository, tmp_path):
    own = tmp_path / "configs"
    shutil.copytree(repository / "configs", own)
    config = str(own / "digits/pla_digits.py")

    def call(*words):
        return command.compare([config, "--work-dir", str(compare.folder), "--seeds", "0", *words])

    call("--methods", "ria", "pla")
    for method in ("ria", "pla"):
        cfg = method_config(config, method, None, 0.1, {})
        write_text(compare.folder / method / CONFIG, cfg.pretty_text)
    fragment = own / "_base_/methods/ria.py"
    fragment.write_text(fragment.read_text() + "model['head']['new'] = 0.75\n")
    call("--methods", "ria")  # no run was started with the earlier settings
    folder = compare.folder / "ria/seed_0"
    folder.mkdir()
    (folder / "last_checkpoint").write_text("epoch_1.pth")
    call("--methods", "pla")  # other methods are not checked
    with pytest.raises(ValueError) as refused:
        call("--methods", "ria", "--seeds", "1")
    assert str(refused.value) == (
        f"{compare.folder / 'ria'} holds runs of ria with other settings "
        "(model.head.new: None → 0.75); undo the change, or choose another --work-dir"
    )
    assert len(compare.collected) == 3
    # A new option whose value is None is no change.
    text = fragment.read_text().replace("= 0.75", "= None")
    fragment.write_text(text)
    call("--methods", "ria")


def test_settings_without_effect_on_the_result_may_change(compare):
    compare("--methods", "pla")
    compare("--methods", "pla", "--cfg-options", "train_dataloader.num_workers=3")
    assert len(compare.collected) == 2


def test_all_methods_by_default(compare):
    compare("--seeds", "0")
    [runs] = compare.collected
    assert runs == [f"{method} seed 0" for method in METHODS]


def test_methods_that_need_images_are_left_out_of_cached_features(compare, capsys):
    cached = "photos/pla_lite0_photos_cached"
    compare("--seeds", "0", config=cached)
    [runs] = compare.collected
    assert runs == [f"{method} seed 0" for method in METHODS if method not in NEED_IMAGES]
    assert (
        "left out, because cached features are not images: acf, acfs\n" in capsys.readouterr().out
    )
    with pytest.raises(ValueError) as refused:
        compare("--methods", "pla", "acfs", config=cached)
    text = str(refused.value)
    assert text.startswith("--methods acfs: attention consistency needs images, and ")
    assert f"{cached}.py reads cached features; leave it out, or use a config that" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "words, message",
    [
        (["--methods", "best"], "unknown method 'best'; choose one of acf, "),
        (["--methods", "a/b.py"], "--methods takes names"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--seeds", "-1"], "--seeds must not be negative"),
        (["--val-split", "0.3"], "val_split must be 1/k"),
        (["--cfg-options", "randomness.seed=3"], "use --methods, --seeds or --val-split"),
    ],
)
def test_errors_of_the_command_line_state_the_remedy(compare, words, message):
    with pytest.raises(ValueError) as error:
        compare(*words)
    assert message in str(error.value)
    assert not compare.folder.exists()


def test_only_the_report(compare):
    assert compare("--report-only") == 0
    assert compare.collected == []


def test_failed_runs_are_named_at_the_end(compare, monkeypatch, capsys):
    failed = [type("Job", (), {"name": "pla seed 0"})]
    monkeypatch.setattr(command, "train_and_evaluate", lambda *_: failed)
    message = "error: failed: pla seed 0; the same command resumes from there\n"
    assert compare("--methods", "pla") == 1
    assert capsys.readouterr().err == message

    def nothing_finished(folder):
        raise ValueError("no run is finished")

    monkeypatch.setattr(command, "load_comparison", nothing_finished)
    with pytest.raises(ValueError, match="no run is finished"):
        compare("--methods", "pla")
    assert capsys.readouterr().err == message
