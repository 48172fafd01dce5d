"""What all datasets of label sets share: the option `classes`, and the examples they leave out."""

from collections.abc import Sequence

from mmengine.logging import print_log
from mmpretrain.datasets import MultiLabelDataset

from mmorderless.datasets.annotations import read_class_names
from mmorderless.datasets.faults import report_doubt
from mmorderless.datasets.image_paths import are_files, image_backend


class LabelSetDataset(MultiLabelDataset):
    """mmpretrain's `MultiLabelDataset` that logs what it leaves out.

    Gives per image `img_path` and `gt_label`, the sorted distinct class indices, possibly none; and
    where classes are not judged `gt_ignore`, the same of these that are no labels, which
    `LabelSetMetric` leaves out of mAP with `PackInputs(algorithm_keys=("gt_ignore",))`.

    Args:
        classes: names of the classes to use, in that order, or the path of a file with one per line
            (relative to the working directory, as in mmpretrain); None for all.
        keep_unlabeled: whether examples with an empty label set stay.
        drop_missing: whether examples whose image is not on disk are left out.
        **kwargs: of mmpretrain's `MultiLabelDataset`.

    Attributes:
        dropped: how many examples were left out, by reason.

    Raises:
        FileNotFoundError: there is no file `classes`.
        ValueError: no example is left.
    """

    def __init__(
        self,
        *args,
        classes: str | Sequence[str] | None = None,
        keep_unlabeled: bool = True,
        drop_missing: bool = False,
        **kwargs,
    ) -> None:
        self.keep_unlabeled = keep_unlabeled
        self.drop_missing = drop_missing
        self.dropped: dict[str, int] = {}
        super().__init__(*args, classes=read_class_names(classes), **kwargs)

    @property
    def source(self) -> str:
        """File or folder of the annotation, for messages."""
        return self.ann_file or self.data_root

    def filter_data(self) -> list[dict]:
        """Leave out the examples that the options name, and check the others."""
        records = self._images_on_disk() if self.drop_missing else self.data_list
        kept = records if self.keep_unlabeled else [r for r in records if r["gt_label"]]
        if not kept:
            remedy = "set keep_unlabeled=True to keep them" if records else "it must list images"
            raise ValueError(
                f"{self.source} lists {len(records)} images, none of them to use; {remedy}"
            )
        self.note_dropped("without a label", len(records) - len(kept))
        self._check_packing(kept)
        return kept

    def note_dropped(self, reason: str, number: int) -> None:
        """Count and log examples that are left out."""
        if number:
            self.dropped[reason] = number
            name = type(self).__name__
            print_log(f"{name}: dropped {number} {reason} ({self.source})", logger="current")

    def _images_on_disk(self) -> list[dict]:
        paths = [record["img_path"] for record in self.data_list]
        exist = are_files(paths, image_backend(self))
        found = [record for record, exists in zip(self.data_list, exist) if exists]
        if paths and not found:
            raise ValueError(
                f"none of {len(paths)} images is in {self.img_prefix}; set data_root and "
                "data_prefix to their location"
            )
        self.note_dropped("images not on disk", len(paths) - len(found))
        return found

    def _check_packing(self, records: list[dict]) -> None:
        """Report a doubt about a pipeline that drops the labels which are not judged."""
        steps = self.pipeline.transforms
        packed = [step.algorithm_keys for step in steps if hasattr(step, "algorithm_keys")]
        ignoring = sum(bool(record.get("gt_ignore")) for record in records)
        if ignoring and packed and not any("gt_ignore" in keys for keys in packed):
            report_doubt(
                f"{self.source}: {ignoring} images have labels that are not judged, but mAP counts "
                "them as negatives: the pipeline drops them; set "
                "PackInputs(algorithm_keys=('gt_ignore',))"
            )
