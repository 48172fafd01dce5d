"""Fixtures that several tests share."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

# The tests run on the CPU, also where there is a GPU: they compare to the last digit, and every
# worker would take some of its memory. tools/check_gpu.py checks the GPU.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

TIMEOUT = 600  # seconds that a process may take on a busy machine

# No sandbox, because tests may run as root, and no background services of the browser.
BROWSER_OPTIONS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the sizes of the campaigns, of which the suite runs a small part."""
    parser.addoption("--kills", type=int, default=10, help="random kills of test_kills.py")
    parser.addoption("--fuzz-cases", type=int, default=360, help="damaged files of test_fuzz.py")
    parser.addoption("--fuzz-seed", type=int, help="read only this damaged file of each format")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark parametrized tests `slow`, except those with an ID that `slow_except` names."""
    for item in items:
        for mark in item.iter_markers("slow_except"):
            ids = item.name.partition("[")[2].removesuffix("]")
            if ids not in mark.args:
                item.add_marker("slow")


def pytest_collection_finish() -> None:
    """Exclude the loaded modules from garbage collections, which mmengine's datasets start."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """Folder of real photos and annotation files, next to the checkout."""
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data are not there: {folder}")
    return folder


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium, which logs its console and its requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    service = shutil.which("chromedriver")
    if not (browser and service):
        pytest.skip("no browser found: Debian's chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*BROWSER_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


LEAVE_TOGETHER = """
import torch.distributed
if torch.distributed.is_initialized():
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""
"""End of a script: a process that outlives the other aborts while its group is alive."""


@pytest.fixture
def run_two_processes(tmp_path: Path, repository: Path) -> Callable[[str], None]:
    """Run a script in two processes, with its rank and the path of a common store as arguments."""

    def run(script: str) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", script + LEAVE_TOGETHER, str(rank), str(tmp_path / "store")],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
            )
            for rank in range(2)
        ]
        try:
            assert [process.wait(timeout=TIMEOUT) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
                process.wait()

    return run


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
