import io

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mmorderless.datasets.mat_file import read_mat

CELLS = np.empty((2, 2), dtype=object)
CELLS[:] = [["a", "two words"], ["Größe 木", np.arange(3.0)]]
CONTENT = {
    "cells": CELLS,
    "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "doubles": np.array([[0.5, np.nan], [np.inf, -1]]),
    "longs": np.array([[-(2**40), 3]]),
    "flags": np.array([[True], [False]]),
    "text": "a text",
    "complex": np.array([[1j]]),
    "struct": {"field": 1},
}


def written(compressed):
    file = io.BytesIO()
    savemat(file, CONTENT, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
def test_values_are_those_of_scipy(tmp_path, compressed):
    path = tmp_path / "a.mat"
    path.write_bytes(written(compressed))
    content, expected = read_mat(str(path)), loadmat(path)
    assert content["cells"][:3] == ["a", "Größe 木", "two words"]
    np.testing.assert_array_equal(content["cells"][3], [[0, 1, 2]])
    for name in ("bytes", "doubles", "longs", "flags"):
        np.testing.assert_array_equal(content[name], expected[name])
    assert content["text"] == "a text"
    assert content["complex"] is content["struct"] is None


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_files_are_errors_or_read(tmp_path, compressed):
    """SciPy ends the process at some of these bits."""
    whole = written(compressed)
    path = tmp_path / "a.mat"
    messages = []
    for bit in range(128 * 8, len(whole) * 8, 11):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read_mat(str(path))
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "no MATLAB header"),
        (b"image,labels\n" * 20, "no MATLAB header, but begins with b'image,labels"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "Git LFS pointer"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", r"version 7\.3 \(save it with -v7\)"),
        (written(False)[:-8], "does not fit"),
        (written(True)[:-8], "does not fit"),
    ],
    # The files hold the time: pytest 8 would make it a part of the names, which workers compare.
    ids=["empty", "CSV", "LFS pointer", "version 7.3", "cut", "cut, compressed"],
)
def test_other_files(tmp_path, content, reason):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.mat cannot be read: .*{reason}"):
        read_mat(str(path))
