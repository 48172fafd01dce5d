from pathlib import Path

import pytest
import torch

from mmorderless.comparison.evaluation.trained import CONFIG, TrainedRun


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with an empty checkpoint."""
    folder = tmp_path / "pla/seed_0"
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text("model = dict(type='ImageClassifier')")
    torch.save({}, folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    return folder


def test_the_checkpoint_of_another_run_is_refused(run, tmp_path):
    other = tmp_path / "pla/seed_1"
    run.rename(other)
    run.mkdir()
    for name in (CONFIG, "last_checkpoint"):
        (run / name).write_text((other / name).read_text())
    (run / "last_checkpoint").write_text(str(other / "epoch_1.pth"))
    with pytest.raises(ValueError, match=r"is outside .*seed_0 and may be another run's; copy it"):
        TrainedRun(run)


def test_no_checkpoint(run):
    (run / "last_checkpoint").unlink()
    with pytest.raises(FileNotFoundError, match="holds no checkpoint; remove this folder and run"):
        TrainedRun(run)
