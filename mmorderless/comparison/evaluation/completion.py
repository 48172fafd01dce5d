"""Evaluate how well a run of a comparison completes label sets of which a part is known.

python -m mmorderless.comparison.evaluation.completion DIR/METHOD/seed_S SETTINGS

N images, C classes. All metrics leave out the entries of the image × class matrix that are known.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmpretrain.structures import DataSample

from mmorderless.comparison.evaluation.operating_parameter import override
from mmorderless.comparison.evaluation.predictions import finite_or_none, loader_from_config
from mmorderless.comparison.evaluation.trained import TrainedRun
from mmorderless.comparison.plan import RESULT, run_in
from mmorderless.errors import run_tool
from mmorderless.metrics.ranking import mean_average_precision
from mmorderless.metrics.set_scores import overall_scores
from mmorderless.models.heads.known_labels import mask_known_labels, set_known_labels
from mmorderless.runs.records import read_json, write_json

COMPLETION = "completion.json"

GIVEN, STRUCK, SHARES = "given", "struck", "shares"
"""Protocols: some labels are given; wrong predictions are excluded, too; the state of a share of
all classes is known (C-Tran)."""


@dataclass(frozen=True)
class Settings:
    """What is known of the test images.

    Attributes:
        min_labels: labels are given of images that have at least so many.
        given: numbers of labels given.
        shares: shares of the classes that are known, in percent.
        seed: seed of the draws, which are the same for all methods.
        chosen: whether label sets are those of the operating point that is best in O-F1 on the
            held-out images, without known labels; otherwise those of the default.

    Raises:
        ValueError: a number is out of range, or all labels would be given.
    """

    min_labels: int = 4
    given: Sequence[int] = (0, 1, 2, 3)
    shares: Sequence[int] = (0, 25, 50, 75)
    seed: int = 0
    chosen: bool = True

    def __post_init__(self) -> None:
        if not all(0 <= number < self.min_labels for number in self.given):
            raise ValueError(
                f"--given {' '.join(map(str, self.given))} must be from 0 to one less than "
                f"--min-labels {self.min_labels}, so that a label remains; change one of them"
            )
        if not all(0 <= share < 100 for share in self.shares):
            raise ValueError(
                f"--shares {' '.join(map(str, self.shares))} must be at least 0 and below 100 %"
            )
        if self.seed < 0:
            raise ValueError(f"--seed must not be negative, got {self.seed}")


class Truth(NamedTuple):
    """True labels of a test image.

    Args:
        image: its index in the test set.
        labels: its labels, in the order in which they are given.
        classes: all classes, in the order in which they become known.
        ignored: classes that are not judged.
    """

    image: int
    labels: list[int]
    classes: list[int]
    ignored: list[int]

    @classmethod
    def draw(
        cls, image: int, labels: Iterable[int], ignored: Iterable[int], num_classes: int, seed: int
    ) -> "Truth":
        """Draw the orders of an image; its place in a batch has no influence on them."""
        random = np.random.default_rng([seed, image])
        order = random.permutation(sorted(labels)).astype(int).tolist()
        return cls(image, order, random.permutation(num_classes).tolist(), sorted(ignored))


class Known(NamedTuple):
    """What is known of an image: classes that are labels, and that are not."""

    given: list[int]
    excluded: list[int]


def known_share(truth: Truth, share: int) -> Known:
    """Return the states of a share of the classes, in percent; those not judged stay unknown."""
    classes = truth.classes[: round(share / 100 * len(truth.classes))]
    others = (*truth.labels, *truth.ignored)
    return Known([c for c in classes if c in truth.labels], [c for c in classes if c not in others])


def known_of(protocol: str, value: int, truth: Truth, plain: DataSample) -> Known:
    """Return what a protocol tells of an image; `plain` is its prediction without known labels."""
    if protocol == SHARES:
        return known_share(truth, value)
    right = (*truth.labels, *truth.ignored)
    wrong = [c for c in plain.pred_label.tolist() if c not in right]
    return Known(truth.labels[:value], wrong if protocol == STRUCK else [])


class Predictions:
    """Predictions of N images of which the same is known, and their true labels.

    Attributes:
        truth: shape (N, C), bool, as `predicted`.
        predicted: the label sets.
        scores: float32, shape (N, C).
        known: entries that are known, bool, shape (N, C).
        ignored: entries that are not judged, bool, shape (N, C).
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._rows: list[tuple[np.ndarray, ...]] = []

    def add(self, truth: Truth, known: Known, sample: DataSample) -> None:
        """Add an image."""
        masks = (truth.labels, sample.pred_label.tolist(), known.given + known.excluded)
        rows = [self._mask(labels) for labels in (*masks, truth.ignored)]
        self._rows.append((*rows, sample.pred_score.float().cpu().numpy()))

    def _mask(self, labels: list[int]) -> np.ndarray:
        mask = np.zeros(self.num_classes, dtype=bool)
        mask[labels] = True
        return mask

    def metrics(self) -> dict[str, float | None]:
        """Return O-F1 and mAP of the entries that are not known; mAP leaves out `ignored`, too.

        A metric without a positive is None.
        """
        truth, predicted, known, ignored, scores = map(np.stack, zip(*self._rows))
        open_truth = truth & ~known
        overall = overall_scores(predicted & ~known, open_truth)["OF1"]
        mean_ap, _ = mean_average_precision(scores, truth, known | ignored)
        return {
            "OF1": overall if open_truth.any() else None,
            "mAP": finite_or_none(mean_ap),
        }

    def __len__(self) -> int:
        return len(self._rows)


@torch.no_grad()
def complete(model: Any, loader: Any, num_classes: int, settings: Settings) -> dict[str, Any]:
    """Predict a test set with parts of its labels known; features are computed once.

    Returns:
        By protocol (`given`, `struck`, `shares`) the number or share known, as text, and its
        metrics; `num_images` and `num_completed`, the test images and those with enough labels.

    Raises:
        ValueError: no image has enough labels, or more are given than the model can emit.
    """
    head = model.head
    max_given = head.max_steps - 1 if hasattr(head, "max_steps") else num_classes
    collected = {
        (protocol, known): Predictions(num_classes)
        for protocol, values in ((GIVEN, settings.given), (STRUCK, settings.given))
        for known in values
    } | {(SHARES, share): Predictions(num_classes) for share in settings.shares}
    num_images = 0
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        truths = []
        for sample in data["data_samples"]:
            labels, ignored = (
                sample.get(name, torch.zeros(0)).tolist() for name in ("gt_label", "gt_ignore")
            )
            truths.append(Truth.draw(num_images, labels, ignored, num_classes, settings.seed))
            num_images += 1
        feats = model.extract_feat(data["inputs"])
        plain = head.predict(feats)
        enough = [len(truth.labels) >= settings.min_labels for truth in truths]
        for (protocol, value), predictions in collected.items():
            counted = [True] * len(truths) if protocol == SHARES else enough
            if not any(counted):
                continue
            known = [known_of(protocol, value, *pair) for pair in zip(truths, plain)]
            samples = plain
            if any(given or excluded for given, excluded in known):
                # Labels that do not fit into a sequence are left out of the metrics all the same.
                most = max_given if protocol == SHARES else num_classes
                samples = [
                    set_known_labels(DataSample(), k.given[:most], k.excluded) for k in known
                ]
                samples = mask_known_labels(head.predict(feats, samples))
            for counts, *values in zip(counted, truths, known, samples):
                if counts:
                    predictions.add(*values)
    empty = [value for (protocol, value), found in collected.items() if not len(found)]
    if empty:
        raise ValueError(
            f"no test image has at least {settings.min_labels} labels; give a lower --min-labels"
        )
    results: dict[str, Any] = {GIVEN: {}, STRUCK: {}, SHARES: {}}
    for (protocol, value), predictions in collected.items():
        results[protocol][str(value)] = predictions.metrics()
    num_completed = len(collected[GIVEN, settings.given[0]]) if settings.given else 0
    return {**results, "num_images": num_images, "num_completed": num_completed}


def read_completion(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """Read a run's `completion.json`; None unless it is of these settings and the checkpoint."""
    file = folder / COMPLETION
    result = read_json(file)
    if result is None or result["settings"] != json.loads(json.dumps(asdict(settings))):
        return None
    checkpoint = folder / result["checkpoint"]
    if checkpoint.exists() and checkpoint.stat().st_mtime > file.stat().st_mtime:
        return None
    return result


def complete_run(folder: Path, settings: Settings) -> dict[str, Any]:
    """Evaluate the completion of a trained run, write `completion.json` and return its content."""
    start = time.monotonic()
    run, trained = run_in(folder), TrainedRun(folder)
    if settings.chosen:
        value = read_json(folder / RESULT)["tuned"]["OF1"]["value"]
        vars(trained.head).update(override(trained.head, value))
    test = loader_from_config(trained.config.test_dataloader)
    num_classes = len(test.dataset.metainfo["classes"])
    result = {
        "method": run.method,
        "seed": run.seed,
        "settings": asdict(settings),
        "takes_known_labels": getattr(trained.head, "takes_known_labels", False),
        **complete(trained.model, test, num_classes, settings),
        "checkpoint": trained.file.name,
        "seconds": time.monotonic() - start,
    }
    write_json(folder / COMPLETION, result)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the run in a folder, with settings that are given as JSON."""
    folder, settings = sys.argv[1:] if argv is None else argv
    complete_run(Path(folder), Settings(**json.loads(settings)))


if __name__ == "__main__":
    run_tool(main)
