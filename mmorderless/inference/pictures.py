"""Draw images with their predicted labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch.utils.data import DataLoader, Dataset

from mmorderless.datasets.loading import LoadImage
from mmorderless.errors import error_line
from mmorderless.figures.fonts import drawable_names
from mmorderless.figures.label_sets import annotated_image
from mmorderless.figures.style import figure_to_rgb
from mmorderless.runs.files import write_png
from mmorderless.runs.workers import bind_workers

# Pictures have 400 pixels on their longer side. Downsampling a photo of 12 megapixels takes
# matplotlib a second, so that images are decoded at about this size.
MIN_SIDE = 400
BATCH_SIZE = 8


def draw_pictures(
    results: Sequence[dict[str, Any]],
    classes: Sequence[str],
    folder: str | Path,
    num_workers: int = 0,
) -> list[str]:
    """Draw each image with its labels, and add the picture's path to the result as `picture`.

    Pictures take longer than predictions (about 60 ms each) and are drawn in several processes
    after all predictions.

    Args:
        results: of an `OrderlessInferencer`.
        classes: class names.
        folder: where to write.
        num_workers: number of processes; 0 draws in this one.

    Returns:
        An error for each picture that is missing: an image can no longer be read, or a picture
        cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [result for result in results if "error" not in result]
    files = [folder / f"{name}.png" for name in distinct_stems([r["image"] for r in drawn])]
    loader = DataLoader(
        _Pictures(drawn, classes, files),
        batch_size=BATCH_SIZE,
        num_workers=num_workers,
        collate_fn=list,
    )
    bind_workers(loader)
    errors: list[str | None] = []
    with Progress() as progress:
        for batch in progress.track(loader, description="drawing"):
            errors += batch
    for result, file, error in zip(drawn, files, errors):
        if error is None:
            result["picture"] = f"{folder.name}/{file.name}"
    return [error for error in errors if error is not None]


def distinct_stems(paths: Sequence[str]) -> list[str]:
    """Return file names without their extension, distinct by an appended number."""
    used: set[str] = set()
    names = []
    for path in paths:
        name = stem = Path(path).stem
        number = 1
        while name.casefold() in used:  # images of the same name in several folders
            number += 1
            name = f"{stem}_{number}"
        used.add(name.casefold())
        names.append(name)
    return names


class _Pictures(Dataset):
    """Write a picture when its index is read; the item is the error, or None."""

    def __init__(
        self, results: Sequence[dict[str, Any]], classes: Sequence[str], files: Sequence[Path]
    ) -> None:
        # Workers get only what they draw, since scores and attention maps may be large.
        drawn = {c for r in results for c in (*r["labels"], *r.get("excluded", ()))}
        shown = dict(zip(drawn, drawable_names([classes[c] for c in drawn], drawn)))
        self.drawn = [
            (
                r["image"],
                [shown[c] for c in r["labels"]],
                r["probabilities"],
                len(r.get("given", ())),
                [shown[c] for c in r.get("excluded", ())],
            )
            for r in results
        ]
        self.files = files
        self.load = LoadImage(min_side=MIN_SIDE)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> str | None:
        image, names, probabilities, num_given, excluded = self.drawn[index]
        try:
            bgr = self.load({"img_path": image})["img"]
            # Workers may not share the fonts that the main process added.
            figure = annotated_image(
                bgr[..., ::-1],
                drawable_names(names),
                probabilities,
                num_given=num_given,
                excluded_names=drawable_names(excluded),
            )
            write_png(self.files[index], figure_to_rgb(figure))
        except (ValueError, OSError) as error:
            return error_line(error)
        return None
