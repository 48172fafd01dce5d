"""Files are replaced whole or not at all."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmorderless.runs.files import naming, replacing, write_png, write_text


def test_bytes_that_are_no_utf8_are_escaped_and_read_back(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    write_text(tmp_path / "a.json", json.dumps({"image": name, "label": "ü"}, ensure_ascii=False))
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == r'{"image": "caf\udce9.jpg", "label": "ü"}'
    assert json.loads(text)["image"] == name


def test_picture_in_a_new_folder(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    write_png(tmp_path / "new" / "a.png", rgb)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), rgb)


def test_an_error_leaves_the_earlier_file(tmp_path):
    file = tmp_path / "a.json"
    write_text(file, "earlier")

    def fill_the_disk():
        with replacing(file) as unfinished:
            unfinished.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"a\.json cannot be written: No space left.*free space"):
        fill_the_disk()
    assert file.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "error, name", [(OSError(errno.ENOSPC, "full"), "w"), (OSError(errno.EPIPE, "no reader"), None)]
)
def test_only_the_error_of_a_full_disk_is_named(error, name):
    with pytest.raises(OSError) as raised, naming("w"):
        raise error
    assert raised.value.filename == name
    with pytest.raises(OSError) as raised, naming("w"):
        raise OSError(errno.ENOSPC, "full", "w/file")
    assert raised.value.filename == "w/file"


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/a\.txt cannot be written: File exists"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_the_longest_name_a_file_may_have(tmp_path):
    file = Path(tmp_path / ("x" * 251 + ".txt"))
    write_text(file, "text")
    assert file.read_text() == "text"
