"""tools/check_gpu.py at tiny sizes on a CPU, and what it does when a check fails or hangs."""

import json
import time
from importlib import import_module

import pytest
import torch
from benchmarks.gpu import command, equality
from benchmarks.gpu.command import CHECKS, Check, main
from benchmarks.gpu.workers import Conditions, Worker

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.graphed import GraphedPasses

CHECKED = """
import subprocess
from pathlib import Path

def passes(conditions):
    return {"number": 1 / 3, "device": conditions.device}

def fails(conditions):
    assert 2 + 2 == 5, "arithmetic"

def crashes(conditions):
    import os
    os.abort()

def hangs(conditions):
    child = subprocess.Popen(["sleep", "600"])
    Path("child").write_text(str(child.pid))
    child.wait()
"""


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def with_checks(tmp_path, monkeypatch, no_gpu):
    """Replace the checks by some of a module of the test's own."""
    (tmp_path / "checked.py").write_text(CHECKED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def replace(*names, **options):
        checks = {name: Check(f"checked:{name}", 1, **options) for name in names}
        monkeypatch.setattr(command, "CHECKS", checks)

    return replace


def lines(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.split()[0].isupper()]


@pytest.mark.parametrize("name", [name for name, c in CHECKS.items() if not c.together])
def test_a_check_runs_on_a_cpu(name, tmp_path):
    check = CHECKS[name]
    if check.gpu_only:
        pytest.skip(check.gpu_only)
    module, _, function = check.function.partition(":")
    values = getattr(import_module(module), function)(Conditions("cpu", tmp_path))
    assert json.loads(json.dumps(values))


@pytest.mark.slow
@pytest.mark.usefixtures("no_gpu")
def test_all_checks_on_a_cpu(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    code = main(["--out", str(out)])
    printed = lines(capsys)
    assert code == 0, printed
    checks = {check["name"]: check for check in json.loads(out.read_text())["checks"]}
    assert checks.keys() == CHECKS.keys()
    for (name, check), line in zip(CHECKS.items(), printed):
        status = "SKIP" if check.gpu_only else check.status
        assert checks[name]["status"] == status
        assert line.startswith(f"{status} {name} ")


def test_failing_crashing_and_hanging_checks(with_checks, tmp_path, capsys):
    with_checks("passes", "fails", "crashes", "hangs")
    out = tmp_path / "gpu.json"
    assert main(["--out", str(out)]) == 1
    passed, failed, crashed, hanging = lines(capsys)
    assert passed.startswith("PASS passes ")
    assert passed.endswith(" s: number 0.333, device cpu")
    assert failed.startswith("FAIL fails ")
    assert ": AssertionError: arithmetic (checked.py:" in failed
    assert crashed.endswith(": its process ended with code -6")
    assert hanging.endswith(" s: stopped after 5 s")  # 1 s on a GPU
    found = json.loads(out.read_text())["checks"]
    assert [check["status"] for check in found] == ["PASS", "FAIL", "FAIL", "FAIL"]
    assert found[0]["values"] == {"number": 1 / 3, "device": "cpu"}
    assert not is_running(int((tmp_path / "child").read_text()))


def is_running(pid):
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":  # no one has waited for it
                    return False
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return True


def test_what_does_not_fit_the_budget_or_the_machine_is_skipped(with_checks, capsys):
    with_checks("passes", gpu_only="needs a GPU")
    assert main(["--budget", "100"]) == 0
    with_checks("passes")
    assert main(["--budget", "4"]) == 0
    no_gpu, no_time = lines(capsys)
    assert no_gpu == "SKIP passes 0.0 s: needs a GPU"
    assert no_time == "SKIP passes 0.0 s: may take 5 s, and 4 of 4 s are left"


def test_what_was_skipped_is_said_at_the_end(with_checks, capsys):
    with_checks("passes", gpu_only="needs a GPU")
    assert main([]) == 0
    assert capsys.readouterr().out.endswith("no check failed; skipped: passes\n")


def test_the_values_of_a_check_have_a_name(with_checks, capsys):
    with_checks("passes", quantity="shares")
    assert main([]) == 0
    (line,) = lines(capsys)
    assert line.endswith(" s: shares: number 0.333, device cpu")


def test_a_process_that_starts_too_late_is_an_error(tmp_path):
    worker = Worker(["json"], 0)
    answer = worker.run("checked:passes", Conditions("cpu", tmp_path), 1)
    assert answer == "did not start within 0 s"
    assert not worker.is_alive


def test_checks_that_run_together(with_checks, capsys):
    with_checks("passes", "fails", together=True)
    assert main([]) == 1
    assert {line.split()[0] for line in lines(capsys)} == {"PASS", "FAIL"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "heads", "all"], "unknown check 'all'; choose from alignment, gradients, "),
        (["--budget", "0"], "--budget must be positive, got 0"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        main(arguments)


def test_all_limits_fit_into_the_budget():
    alone = sum(check.seconds for check in CHECKS.values() if not check.together)
    together = max(check.seconds for check in CHECKS.values() if check.together)
    assert alone + together <= command.BUDGET - 45  # for starting processes


@pytest.mark.parametrize("wrong", [float("nan"), 1.1])
def test_a_difference_is_found(wrong):
    expected = {"large": torch.ones(3), "small": torch.full((3,), 1e-6)}
    equality.compare(expected, expected, 1e-3, "decoder")
    off = {**expected, "large": torch.tensor([1, 1, wrong])}
    with pytest.raises(AssertionError, match="decoder: large differs by"):
        equality.compare(off, expected, 1e-2, "decoder")
    with pytest.raises(AssertionError, match=r"decoder: \{'small'\} has a gradient"):
        equality.compare({"large": torch.ones(3)}, expected, 1e-2, "decoder")
    rounded = {**expected, "small": torch.full((3,), 2e-6)}
    with pytest.raises(AssertionError, match="small differs by 1 "):
        equality.compare(rounded, expected, 1e-2, "decoder")
    assert equality.compare(rounded, expected, 1e-2, "decoder", floor=0.1) < 1e-4
    assert equality.compare(rounded, expected, 1e-2, "decoder", alike=rounded) == 1


def test_a_wrong_gradient_fails_the_check(monkeypatch, tmp_path):
    """Here one that lacks the step of END."""
    own = equality.DecoderBatch.train_ours

    def wrong(batch, feed=None):
        tokens, end = batch.tokens, batch.decoder.vocabulary.end
        batch.tokens = torch.where(tokens == end, IGNORE, tokens)
        logits = own(batch, feed)
        batch.tokens = tokens
        return logits

    monkeypatch.setattr(equality.DecoderBatch, "train_ours", wrong)
    with pytest.raises(AssertionError, match=r"^fp32: .* differs by"):
        equality.gradients(Conditions("cpu", tmp_path))


@pytest.fixture
def stand_in(monkeypatch):
    """Replace graphs by the pass itself; its logits times a factor. Return the modules that ran."""

    def replace(factor):
        modules = []

        def run(passes, module, *inputs, **options):
            modules.append(type(module).__name__)
            return factor * module(*inputs, **options)

        monkeypatch.setattr(GraphedPasses, "__call__", run)
        return modules

    return replace


def test_every_decoder_of_the_check_runs_as_graphs(stand_in, tmp_path):
    modules = stand_in(1)
    equality.graphed(Conditions("cpu", tmp_path))
    decoders = ("AttentionLSTM", "AttentionGRU", "TransformerLabelDecoder")
    assert modules[:-3] == [decoder for decoder in decoders for _ in range(4)]


def test_dropout_that_ignores_the_seed_fails_the_check(monkeypatch, tmp_path):
    def run(passes, module, *inputs, **options):
        torch.manual_seed(0)
        return module(*inputs, **options)

    monkeypatch.setattr(GraphedPasses, "__call__", run)
    with pytest.raises(AssertionError, match="the same with another seed"):
        equality.check_dropout(Conditions("cpu", tmp_path))


def test_a_wrong_graph_fails_the_check(stand_in, tmp_path):
    stand_in(1.2)
    with pytest.raises(AssertionError, match=r"^AttentionLSTM, fp32: logits differs by 0\.2 "):
        equality.graphed(Conditions("cpu", tmp_path))
