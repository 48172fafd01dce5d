"""Compare the class names of datasets, checkpoints and heads."""

from collections.abc import Sequence

from torch import nn
from torch.utils.data import Dataset


def class_names(dataset: Dataset) -> Sequence[str] | None:
    """Return the class names of a dataset, None where it has none."""
    return getattr(dataset, "metainfo", {}).get("classes")


def difference(before: Sequence[str] | None, now: Sequence[str] | None) -> str | None:
    """Return the first difference of two lists of names in words, None where they are equal.

    None instead of a list matches everything.
    """
    if before is None or now is None or list(before) == list(now):
        return None
    index = next((i for i, (a, b) in enumerate(zip(before, now)) if a != b), None)
    if index is None:
        index = min(len(before), len(now))
    name, name_before = (names[index] if index < len(names) else None for names in (now, before))
    return f"class {index} is {name!r} instead of {name_before!r}"


def compare_names(trained: Sequence[str] | None, used: Sequence[str] | None, what: str) -> None:
    """Raise a ValueError when two lists of names differ; None matches everything."""
    if differs := difference(trained, used):
        raise ValueError(
            f"the {what} has {len(used)} classes, training had {len(trained)}, and {differs}; give "
            "every split the same classes (CsvMultiLabel: classes_from=TRAIN.csv)"
        )


def compare_number(model: nn.Module, names: Sequence[str] | None, what: str) -> None:
    """Raise a ValueError when a classifier's head and a dataset differ in the number of classes."""
    num_classes = getattr(getattr(model, "head", None), "num_classes", None)
    if num_classes is None or names is None or num_classes == len(names):
        return
    raise ValueError(
        f"the model has {num_classes} classes, the {what} has {len(names)}; set "
        f"model.head.num_classes={len(names)}, and data_preprocessor.num_classes if it is given"
    )
