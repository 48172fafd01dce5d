"""Damaged files are refused in one line, or read exactly as a plain reader reads them.

`--fuzz-cases 10000 -s` runs a campaign and prints what was refused, right or accepted.
"""

import os
import re

import pytest
from fuzz.campaign import judge, run_cases, summarize
from fuzz.formats import FORMATS, CsvMultiLabel

every_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@every_format
def test_intact_files_are_read_as_the_plain_reader_does(form, tmp_path):
    form.write(tmp_path)
    assert judge(form, tmp_path, "none").outcome == "right"


@every_format
def test_damaged_files(form, tmp_path, request):
    seed = request.config.getoption("--fuzz-seed")
    number = request.config.getoption("--fuzz-cases") // len(FORMATS)
    results = run_cases(form, tmp_path, range(number) if seed is None else [seed])
    print(summarize(form, results))
    wrong = [
        f"{result.kind}: {result.detail[:1000]}\n"
        f"    alone: pytest '{request.node.nodeid}' --fuzz-seed {seed}"
        for seed, result in results.items()
        if result.outcome == "wrong"
    ]
    assert not wrong, f"{len(wrong)} of {len(results)} cases:\n" + "\n".join(wrong)


def raise_key_error():
    raise KeyError("labels")


@pytest.mark.parametrize(
    "misread, detail",
    [
        (lambda: [], r"^\[\] != \["),
        (raise_key_error, "^KeyError: "),
        (lambda: os._exit(3), r"^ended the process \(exit code 3\)"),
    ],
)
def test_a_wrong_reader_is_found(tmp_path, misread, detail):
    form = CsvMultiLabel()
    form.read = lambda root: misread()
    results = run_cases(form, tmp_path, [0, 1])
    assert list(results) == [0, 1]
    wrong = [result.detail for result in results.values() if result.outcome == "wrong"]
    assert wrong
    assert all(re.search(detail, text) for text in wrong)
