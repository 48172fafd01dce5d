"""Compare the class names of datasets, checkpoints and heads."""

from collections.abc import Sequence

from torch import nn
from torch.utils.data import Dataset


def class_names(dataset: Dataset) -> Sequence[str] | None:
    """Return the class names of a dataset, None where it has none."""
    return getattr(dataset, "metainfo", {}).get("classes")


def compare_names(trained: Sequence[str] | None, used: Sequence[str] | None, what: str) -> None:
    """Raise a ValueError when two lists of names differ; None matches everything."""
    if trained is None or used is None or list(trained) == list(used):
        return
    index = next(
        (i for i, (a, b) in enumerate(zip(trained, used)) if a != b), min(len(trained), len(used))
    )
    name, name_in_training = (
        names[index] if index < len(names) else None for names in (used, trained)
    )
    raise ValueError(
        f"the {what} has {len(used)} classes, training had {len(trained)}, and class {index} is "
        f"{name!r} instead of {name_in_training!r}; give every split the same classes "
        "(CsvMultiLabel: classes_from=TRAIN.csv)"
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
