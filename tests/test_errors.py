"""User errors are one line; bugs keep their traceback."""

import re
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from types import SimpleNamespace

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.hooks import CheckpointHook
from mmengine.registry import Registry
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmorderless.errors import error_line, is_user_error, run_tool

THINGS = Registry("thing")


@THINGS.register_module()
class Thing:
    def __init__(self, size: int = 1) -> None:
        if size < 0:
            raise ValueError(f"size must be positive, got {size}")


@THINGS.register_module()
class PartOfThing(Thing):
    def __init__(self, **options) -> None:
        super().__init__(**options)


class Failing(Dataset):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        raise self.error


def caught(function, *args) -> Exception:
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def caught_in_worker(error: Exception) -> Exception:
    return caught(lambda: list(DataLoader(Failing(error), num_workers=1)))


@pytest.mark.parametrize(
    "cfg, line",
    [
        (dict(type="Thing", size=-1), "size must be positive, got -1"),
        (dict(type="Thing", width=2), "unexpected keyword argument 'width'"),
        (dict(type="PartOfThing", width=2), "unexpected keyword argument 'width'"),
        (dict(type="Nothing"), "Nothing is not in the"),
        (dict(size=2), 'must contain the key "type"'),
    ],
)
def test_config_errors_are_user_errors(cfg, line):
    error = caught(THINGS.build, cfg)
    assert is_user_error(error)
    assert line in error_line(error)
    assert "\n" not in error_line(error)


@pytest.mark.parametrize(
    "function, args, kind, line",
    [
        (mmcv.imresize, (np.zeros((0, 3, 3), np.uint8), (4, 4)), cv2.error, "resize"),
        (Image.open, (BytesIO(b"P5 99999 99999 255\n"),), Image.DecompressionBombError, "bomb"),
        (mmcv.imresize, ("a.jpg", (4, 4)), AttributeError, "no attribute 'shape'"),
        (pseudo_collate, ([],), IndexError, "list index out of range"),
    ],
)
def test_errors_raised_in_the_host_are_user_errors(function, args, kind, line):
    error = caught(function, *args)
    assert isinstance(error, kind)
    assert is_user_error(error)
    assert line in error_line(error)
    assert "\n" not in error_line(error)


DIFFERENT = [dict(inputs=torch.zeros(3, 4, width)) for width in (5, 6)]


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_different_sizes_need_a_resize(workers):
    loader = DataLoader(DIFFERENT, 2, num_workers=workers, collate_fn=default_collate)
    error = caught(list, loader)
    assert is_user_error(error)
    line = error_line(error)
    assert "got [3, 4, 5] at entry 0 and [3, 4, 6] at entry 1; the images of a batch" in line
    assert "dict(type='Resize', scale=(224, 224))" in line


@pytest.mark.parametrize("option", ["pos_weight", "class_weight"])
def test_wrong_number_of_class_weights(option):
    for kind in ("CrossEntropyLoss", "MeanBCELoss"):
        own = {"use_sigmoid": True} if kind == "CrossEntropyLoss" else {}
        loss = MODELS.build({"type": kind, option: [1.0, 2.0, 3.0], **own})
        error = caught(loss, torch.zeros(2, 4), torch.zeros(2, 4))
        assert is_user_error(error)
        assert error_line(error).endswith(
            "dimension 1; give pos_weight and class_weight one number per class"
        )


def test_an_image_that_mmcv_cannot_decode(tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    error = caught(LoadImageFromFile().transform, {"img_path": str(tmp_path / "a.jpg")})
    assert is_user_error(error)
    assert error_line(error).endswith(
        "/a.jpg; copy or download it again, or remove it from the annotation file"
    )


def test_wrong_number_of_input_features():
    head = dict(type="MultiLabelLinearClsHead", num_classes=4, in_channels=8)
    error = caught(MODELS.build(head).forward, (torch.zeros(2, 9),))
    assert is_user_error(error)
    assert re.search(r"2x9 and 8x4\); set in_channels of the head", error_line(error))


def test_mmpretrains_voc_needs_every_difficult(tmp_path):
    for folder in ("ImageSets/Main", "Annotations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/test.txt").write_text("a\n")
    xml = "<annotation><object><name>dog</name></object></annotation>"
    (tmp_path / "Annotations/a.xml").write_text(xml)
    error = caught(DATASETS.build, dict(type="VOC", data_root=str(tmp_path), split="test"))
    assert is_user_error(error)
    assert "use the dataset VocMultiLabel" in error_line(error)


def test_bugs_in_our_own_code_are_not_user_errors():
    in_torch = caught(list, DataLoader(DIFFERENT, 2))  # called by this test, not by OpenMMLab
    assert "equal size" in str(in_torch)
    assert not is_user_error(in_torch)
    for broken in (lambda: [][0], lambda: {}["key"], lambda: 1 + "a", lambda: Thing(width=2)):
        assert not is_user_error(caught(broken))


def test_bugs_of_code_in_a_clone_of_mmpretrain_are_not_user_errors(tmp_path):
    file = str(tmp_path / "mmpretrain/projects/mine.py")
    error = caught(eval, compile("[][0]", file, "eval"))
    assert not is_user_error(error)


def test_missing_file_is_named(tmp_path):
    error = caught(open, tmp_path / "no.json")
    assert error_line(error) == f"{tmp_path / 'no.json'}: No such file or directory; check the path"


def test_a_file_in_the_way_has_a_remedy(tmp_path):
    (tmp_path / "file").touch()
    line = error_line(caught((tmp_path / "file" / "folder").mkdir))
    assert re.fullmatch(r".*/file/folder: Not a directory; there is a file .* another path", line)


def test_only_the_message_of_a_worker_error_is_shown():
    error = caught_in_worker(ValueError("image a.jpg is truncated;\ncopy it again"))
    assert is_user_error(error)
    assert error_line(error) == "image a.jpg is truncated; copy it again"
    error = caught_in_worker(FileNotFoundError("image b.jpg does not exist"))
    assert is_user_error(error)
    assert error_line(error) == "image b.jpg does not exist"


def test_bug_in_a_worker_is_not_a_user_error():
    assert not is_user_error(caught_in_worker(TypeError("a defect")))


def test_key_error_is_reported_as_a_missing_key():
    assert error_line(KeyError("meta")) == "missing key 'meta'"


def test_missing_key_error_names_the_function_that_needs_it():
    """Only the function tells what is wrong in the config."""
    hook = CheckpointHook(save_best="set/OF2", rule="greater")
    runner = SimpleNamespace(epoch=1, iter=1)
    error = caught(hook._save_best_checkpoint, runner, {"set/OF1": 50.0})
    assert is_user_error(error)
    assert error_line(error) == "missing key 'set/OF2' (checkpoint_hook.py, save_best_checkpoint)"


def run(main, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        run_tool(main, [])
    return left.value.code, capsys.readouterr().err


def test_a_tool_ends_with_one_line_and_code_1(capsys, monkeypatch):
    monkeypatch.delenv("MMORDERLESS_DEBUG", raising=False)

    def main(argv):
        raise ValueError("two\nlines")

    assert run(main, capsys) == (1, "error: two lines\n")
    monkeypatch.setenv("MMORDERLESS_DEBUG", "1")
    code, text = run(main, capsys)
    assert code == 1
    assert text.startswith("Traceback")
    assert text.endswith("error: two lines\n")


def test_tool_passes_on_exit_codes_and_bugs(capsys):
    assert run(lambda argv: None, capsys) == (0, "")
    assert run(lambda argv: 3, capsys) == (3, "")
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda argv: 1 // 0, [])


def test_tools_print_names_that_the_terminal_cannot_show(monkeypatch):
    name = b"caf\xe9 \xc3\xbc".decode("utf-8", "surrogateescape")
    for encoding, shown in (("ascii", rb"caf\udce9 \xfc"), ("utf-8", b"caf\\udce9 \xc3\xbc")):
        stream = TextIOWrapper(BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit):
            run_tool(lambda argv: print(name), [])
        stream.flush()
        assert stream.buffer.getvalue() == shown + b"\n"


def test_ctrl_c_has_its_own_exit_code(capsys):
    def main(argv):
        raise KeyboardInterrupt

    assert run(main, capsys) == (130, "error: interrupted\n")


@pytest.mark.slow_except("True-1")
@pytest.mark.parametrize("fails, code", [(False, 0), (True, 1)])
def test_distributed_process_exits_cleanly(tmp_path, fails, code):
    """Output is flushed and exit functions run, although Python does not shut down regularly."""
    script = f"""
import atexit, sys
from torch import distributed
from mmorderless.errors import run_tool

def main(argv):
    distributed.init_process_group(
        "gloo", init_method="file://{tmp_path}/store", rank=0, world_size=1)
    atexit.register(print, "at exit")
    print("printed", end="")
    if {fails}:
        raise ValueError("it broke")

run_tool(main, [])
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == code
    assert "printed" in result.stdout
    assert ("at exit" in result.stdout) == (not fails)
    assert ("error: it broke" in result.stderr) == fails
