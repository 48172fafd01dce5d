"""Tables of completions: mean and deviation over the seeds that have them."""

import json
from dataclasses import asdict

import pytest
from PIL import Image

from mmorderless.comparison.evaluation.completion import COMPLETION, Settings
from mmorderless.comparison.plan import expand
from mmorderless.comparison.report.completion import write_completion
from mmorderless.runs.records import write_json

SETTINGS = Settings(min_labels=2, given=(0, 1), shares=(0, 50))


def finish(run, base, takes=True, settings=SETTINGS):
    """Write a completion whose metrics count up from `base`; one has no positive."""

    def metrics(start):
        return {"OF1": base + start, "mAP": base + start + 0.5}

    write_json(
        run.folder / COMPLETION,
        {
            "method": run.method,
            "seed": run.seed,
            "settings": asdict(settings),
            "takes_known_labels": takes,
            "given": {"0": metrics(0), "1": metrics(1)},
            "struck": {"0": metrics(10), "1": {"OF1": None, "mAP": None}},
            "shares": {"0": metrics(20), "50": metrics(21)},
            "num_images": 9,
            "num_completed": 5,
            "checkpoint": "epoch_1.pth",
        },
    )


def test_tables_and_values(tmp_path):
    runs = expand(tmp_path, ["pla", "bce", "mla"], [0, 1])
    for run in runs:
        if run.method != "mla":
            finish(run, 40 + 2 * run.seed + (20 if run.method == "bce" else 0), run.method == "pla")
    finish(runs[-1], 1, settings=Settings())  # other settings
    json_file, text_file, figure = write_completion(tmp_path, runs, SETTINGS)
    text = text_file.read_text("utf-8")
    assert "Of 9 test images 5 have at least 2 labels" in text
    assert "do not depend on what is known: BCE." in text
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    rows = {title: body.strip().splitlines() for title, body in sections.items()}
    assert rows["O-F1 of the labels not given, by labels given"] == [
        "| method | 0 | 1 |",
        "| --- | ---: | ---: |",
        "| PLA | 41.0 ± 1.4 | 42.0 ± 1.4 |",
        "| BCE | 61.0 ± 1.4 | 62.0 ± 1.4 |",
    ]
    struck = rows["O-F1, wrong labels struck out, by labels given"]
    assert struck[2] == "| PLA | 51.0 ± 1.4 | – |"
    shares = rows["mAP of the other classes, by % of all classes known"]
    assert shares[0] == "| method | 0 | 50 |"
    assert shares[3] == "| BCE | 81.5 ± 1.4 | 82.5 ± 1.4 |"
    written = json.loads(json_file.read_text())
    assert written["mAP"]["pla"]["1"] == {
        "mean": 42.5,
        "sd": pytest.approx(2**0.5),
        "values": {"0": 41.5, "1": 43.5},
    }
    assert "1" not in written["OF1_struck"]["pla"]
    with Image.open(figure) as picture:
        assert picture.size[0] > 500


def test_no_run_is_evaluated(tmp_path):
    with pytest.raises(ValueError, match=r"no run in .* has a completion"):
        write_completion(tmp_path, expand(tmp_path, ["pla"], [0]), SETTINGS)
