"""A small comparison whose names try to break the report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmorderless.comparison.evaluation.gallery import (
    AttentionMaps,
    choose_gallery,
    save_gallery_attention,
)
from mmorderless.comparison.report.page import write_page
from mmorderless.comparison.report.results import load_comparison

CLASSES = [
    "dog",
    "<script>alert(1)</script>",
    "cats & \"dogs\" of the 'neighbours'",
    "</script><img src=x onerror=alert(2)>",
    "{{data}} 日本語 – naïve ☂",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2,
    "a class with a name of many words that goes on for longer than any line should be",
    "zebra?x=1&class=2#7",
]
METHODS = ("bce", "pla", "frequent_first")
SEEDS = (0, 1)
NUM_IMAGES = 12
MAP_SIZE = (3, 4)


def true_labels(image: int) -> list[int]:
    """One to three labels; every class occurs."""
    return sorted({image % 8, (3 * image + 1) % 8, (image + 5) % 8 if image % 2 else image % 8})


def emitted_labels(method: str, image: int) -> list[int]:
    """All labels right, one missing, one wrong, one repeated, or none, in turn."""
    labels = true_labels(image)
    if method != "bce":
        labels = labels[::-1]
    kind = (image + METHODS.index(method)) % 5
    if kind == 1:
        return labels[1:]
    if kind == 2:
        return labels + [next(c for c in range(8) if c not in labels)]
    if kind == 3 and method != "bce":
        return labels + labels[:1]
    return [] if kind == 4 else labels


def draw_photos(folder: Path) -> list[str]:
    """Portrait and landscape photos; the file of the last one is missing."""
    folder.mkdir()
    paths = []
    for image in range(NUM_IMAGES):
        height, width = (160, 240) if image % 2 else (300, 200)
        y, x = np.mgrid[:height, :width] / height
        waves = [128 + 120 * np.sin((2 + c + image) * (x + c * y)) for c in range(3)]
        path = folder / f"photo {image} <b>&amp; \"é\" 'ü'.png"
        if image < NUM_IMAGES - 1:
            Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path)
        paths.append(str(path))
    return paths


def metrics(generator: np.random.Generator, sequence: bool) -> dict[str, float | None]:
    names = ["CP", "CR", "CF1", "OP", "OR", "OF1", "mAP", "example_F1", "exact_match"]
    values: dict[str, float | None] = {name: float(generator.uniform(40, 90)) for name in names}
    values["label_count_error"] = float(generator.uniform(0, 2))
    values["label_count_bias"] = float(generator.uniform(-1, 1))
    if sequence:
        values |= {"duplicates": float(generator.uniform(0, 9)), "rigidness_random": 54.25}
        values["rigidness"] = float(generator.uniform(60, 100))
    return values


def result(method: str, seed: int) -> dict:
    generator = np.random.default_rng([METHODS.index(method), seed])
    sequence = method != "bce"
    epochs = np.arange(1, 21) / 10
    tuned = {
        score: {
            "value": float(generator.uniform(0.1, 0.9)),
            "metrics": metrics(generator, sequence),
        }
        for score in ("CF1", "OF1")
    }
    curve = [
        {"value": value / 10, "CP": 50 + 3 * value, "CR": 80 - 4 * value, "CF1": 60.0}
        | {"OP": 50.0 + 3 * value, "OR": 80.0 - 4 * value, "OF1": 60.0}
        for value in range(10)
    ]
    return {
        "version": 1,
        "method": method,
        "seed": seed,
        "sequence": sequence,
        "operating_parameter": "end_bias" if sequence else "threshold",
        "operating_default": 0.0 if sequence else 0.5,
        "default": metrics(generator, sequence),
        "tuned": tuned,
        "operating_curve": curve,
        "times_ms_per_image": {part: float(generator.uniform(0.1, 9)) for part in TIME_PARTS},
        "loss_curve": [[float(e), float(np.exp(-e) + 0.1 * seed)] for e in epochs],
        "mAP_by_score": {"max": 70.0, "first": 69.5, "beam": 70.5 + seed} if sequence else {},
        "num_parameters": 1_234_567,
        "training_seconds": 60.0 * (seed + 1),
        "checkpoint": "epoch_2.pth",
    }


TIME_PARTS = ("training", "forward", "alignment", "backward", "test")


def write_predictions(folder: Path, method: str, paths: list[str]) -> None:
    generator = np.random.default_rng(0)
    truth = [true_labels(image) for image in range(NUM_IMAGES)]
    emitted = [emitted_labels(method, image) for image in range(NUM_IMAGES)]
    lists = {"truth": truth, "predicted": [list(dict.fromkeys(labels)) for labels in emitted]}
    if method != "bce":
        lists["sequence"] = emitted
    np.savez_compressed(
        folder / "predictions.npz",
        **{name: np.concatenate(labels).astype(np.int32) for name, labels in lists.items()},
        **{f"{name}_length": np.array([len(x) for x in labels]) for name, labels in lists.items()},
        scores=generator.random((NUM_IMAGES, len(CLASSES))).astype(np.float16),
        img_path=np.array(paths),
        classes=np.array(CLASSES),
    )
    if method == "pla":
        index = choose_gallery(truth, len(CLASSES))
        maps = [
            AttentionMaps(emitted[i], generator.random((len(emitted[i]), *MAP_SIZE))) for i in index
        ]
        save_gallery_attention(folder, index, maps)


@pytest.fixture(scope="session")
def comparison_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a finished comparison."""
    folder = tmp_path_factory.mktemp("comparison")
    config = {
        "version": 1,
        "dataset": "configs/<nasty> & co.py",
        "methods": list(METHODS),
        "seeds": list(SEEDS),
        "options": {"epochs": 2, "val_split": 0.1, "cfg_options": {"a.b": "<c> & d"}},
        "settings": {"train_cfg": {"max_epochs": 2}},
    }
    (folder / "comparison.json").write_text(json.dumps(config))
    prior = {
        "version": 1,
        "operating_parameter": "threshold",
        "default": metrics(np.random.default_rng(9), False),
    }
    (folder / "label_prior.json").write_text(json.dumps(prior))
    paths = draw_photos(folder / "photos")
    for method in METHODS:
        for seed in SEEDS:
            run = folder / method / f"seed_{seed}"
            run.mkdir(parents=True)
            (run / "result.json").write_text(json.dumps(result(method, seed)))
            write_predictions(run, method, paths)
    return folder


@pytest.fixture(scope="session")
def report(comparison_folder: Path) -> Path:
    """The page of this comparison."""
    return write_page(load_comparison(comparison_folder))
