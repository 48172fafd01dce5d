"""A wheel, built from an sdist and installed into an environment of its own, without the clone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmorderless.__main__ import COMMANDS

SOURCES = (
    *("mmorderless", "configs", "tools", "tests", "setup.py", "pyproject.toml", "MANIFEST.in"),
    *("README.md", "CHANGELOG.md", "LICENSE", "model-index.yml", ".pytest.ini"),
)

# A config in a user's folder: a few scenes of the shipped one.
TINY = """
_base_ = "mmorderless::digits/pla_digits.py"
train_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(num_scenes=16))
val_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(num_scenes=8))
test_dataloader = val_dataloader
"""
ONE_EPOCH = "train_cfg.max_epochs=1"

CHECK = """
import mmorderless, mmengine.hub
from mmorderless.comparison.plan import METHODS
from mmorderless.runs.methods import find_method
from mmorderless.runs.shipped import TOOLS
for method in METHODS:
    assert find_method(method, "my.py").is_file()
assert TOOLS.joinpath("dist_train.sh").is_file()
assert mmengine.hub.get_config("mmorderless::digits/pla_digits.py").model.head.num_classes == 10
print(mmorderless.__file__)
"""


def run(*command, cwd: Path) -> str:
    """Run a command that sees neither the clone nor a network, and return what it printed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=variables, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory, repository) -> SimpleNamespace:
    """The wheel, the Python of an environment that it is installed into, and its package."""
    if tuple(map(int, version("setuptools").split(".")[:2])) < (70, 1):
        pytest.skip(f"setuptools {version('setuptools')} cannot build a wheel; install 'dev'")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:  # a copy, because a build writes into the folder
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, source / name)
    sdist = "from setuptools import build_meta; build_meta.build_sdist('..')"
    run(sys.executable, "-c", sdist, cwd=source)
    (archive,) = folder.glob("*.tar.gz")
    shutil.rmtree(source)
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", archive, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", "environment", cwd=folder)
    python = folder / "environment/bin/python"
    run(*pip, "--python", python, "install", "--no-deps", wheel, cwd=folder)
    (site,) = folder.glob("environment/lib/python*/site-packages")
    # What this interpreter has, torch and mmengine among it; an editable mmorderless stays hidden,
    # because the .pth file that makes it visible is not read from here.
    others = [path for path in sys.path if path.endswith("-packages")]
    (site / "others.pth").write_text("\n".join(others) + "\n")
    return SimpleNamespace(wheel=wheel, python=python, package=site / "mmorderless")


@pytest.mark.slow
def test_the_wheel_has_the_configs_and_the_tools(installed, repository):
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    mim = "mmorderless/.mim/"
    configs = {file for file in (repository / "configs").rglob("*") if file.is_file()}
    relative = {f"{mim}{file.relative_to(repository)}" for file in configs if file.suffix != ".pyc"}
    assert relative == {name for name in names if name.startswith(f"{mim}configs/")}
    tools = {"dist_train.sh", "environment.sh", "logged.sh", "torchrun.sh", "srun.sh"}
    tools |= {f"{module}.py" for module, _ in COMMANDS.values()}
    assert {f"{mim}tools/{name}" for name in tools} | {f"{mim}model-index.yml"} <= names
    templates = (repository / "mmorderless").rglob("templates/*")
    data = {"mmorderless/py.typed", *(str(file.relative_to(repository)) for file in templates)}
    assert "mmorderless/commands/templates/tag.html" in data <= names
    assert not [name for name in names if "benchmark" in name or "quickstart" in name]
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"mmorderless"}


@pytest.mark.slow
def test_it_trains_tests_and_predicts_without_the_clone(installed, tmp_path):
    (tmp_path / "my.py").write_text(TINY)
    printed = run(installed.python, "-c", CHECK, cwd=tmp_path)
    assert printed.splitlines()[-1] == str(installed.package / "__init__.py")

    mmorderless = (installed.python, "-m", "mmorderless")
    run(*mmorderless, "train", "my.py", "--work-dir", "w", "--cfg-options", ONE_EPOCH, cwd=tmp_path)
    tested = ("test", "my.py", "w/epoch_1.pth", "--work-dir", "w", "--out", "metrics.json")
    run(*mmorderless, *tested, cwd=tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["set/mAP"] > 0

    (images,) = tmp_path.glob("data/digit_scenes/*_test_8x*/images")
    shipped = "mmorderless::digits/pla_digits.py"
    run(*mmorderless, "predict", shipped, "w/epoch_1.pth", images, "--no-pictures", cwd=tmp_path)
    predictions = json.loads((tmp_path / "predictions/predictions.json").read_text())
    assert len(predictions["images"]) == 8

    # A process that another tool starts, and a method.
    stages = ("stages", "my.py", "--work-dir", "s", "--cfg-options", ONE_EPOCH, "method=ria")
    run(*mmorderless, *stages, cwd=tmp_path)
    (written,) = (tmp_path / "s/my").glob("*/vis_data/config.py")
    assert "RecurrentAnnotator" in written.read_text()
    assert (tmp_path / "s/my/epoch_1.pth").is_file()
