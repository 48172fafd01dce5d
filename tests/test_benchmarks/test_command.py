import json

import pytest
from benchmarks import command
from benchmarks.command import main


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["alignment", "all"], "unknown part 'all'; choose from alignment, decoder, "),
        (["alignment", "--repeats", "0"], "--repeats must be at least 1, got 0"),
        (["alignment", "--batch", "2000"], "the batch must have 1 to 1024 images, got 2000"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        main([*arguments, "--quick"])


def test_missing_device():
    with pytest.raises(ValueError, match="PyTorch finds no CUDA device; use --device cpu"):
        main(["alignment", "--device", "cuda"])


def test_an_interruption_keeps_finished_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "PARTS", ("alignment", "broken"))
    out = tmp_path / "results.json"
    with pytest.raises(ModuleNotFoundError):
        main(["--quick", "--repeats", "1", "--out", str(out)])
    assert list(json.loads(out.read_text())["parts"]) == ["alignment"]
