"""Test-time augmentation of models that predict label sets."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.heads.decisions import LabelDecision

OF_A_VIEW = ("sequence", "sequence_score", "end_score", "attention")
"""Fields of a prediction that a merged one does not have."""


@MODELS.register_module()
class LabelSetTTA(BaseTTAModel):
    """Merge the predictions of several views of an image into one label set.

    The score of a class, `pred_score`, is the mean over the views. The head's own rule turns the
    mean scores into `pred_label`, the most probable first: its threshold, its number of best
    classes, or its `LabelDecision` (`decide_merged`). A head without such a rule, that is, one that
    emits a sequence, decides by majority: a label is in the set if more than half of the views
    emit it, or exactly half and its mean score is at least 0.5. Labels are then in the order of
    their mean position in the views that emit them. `KnownSetsHead` is one of these, since its rule
    needs probabilities of whole sets; the score of its ties is θ.

    The merged set has no `sequence`, so that `LabelSetMetric` leaves out duplicates and rigidness.

    Args:
        module: config of the classifier, or the classifier.
        data_preprocessor: config of its data preprocessor.
    """

    def merge_preds(self, data_samples_list: Sequence[Sequence[DataSample]]) -> list[DataSample]:
        """Merge the predictions of each image; all else is that of its first view.

        Raises:
            ValueError: a prediction has no label set or no scores.
        """
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[DataSample]) -> DataSample:
        head = getattr(self.module, "head", None)
        if "pred_label" not in views[0] or "pred_score" not in views[0]:
            raise ValueError(
                f"{type(self).__name__} needs pred_label and pred_score, which "
                f"{type(head).__name__} does not predict; set another tta_model, or test without "
                "--tta"
            )
        scores = torch.stack([view.pred_score for view in views]).float().mean(0)
        labels = merge_sets(head, scores, [view.pred_label for view in views])
        merged = views[0].new()
        for field in OF_A_VIEW:
            merged.pop(field, None)
        return merged.set_pred_score(scores).set_pred_label(labels)


def merge_sets(head: object, scores: Tensor, sets: Sequence[Tensor]) -> Tensor:
    """Return the labels of an image in their order; `LabelSetTTA` says which and how.

    They follow from the head's rule, the mean scores (C,), and the labels that each view emits.
    """
    threshold, number = getattr(head, "thr", None), getattr(head, "topk", None)
    decision = getattr(head, "decision", None)
    best = scores.argsort(descending=True, stable=True)
    if threshold is not None:
        return best[scores[best] >= threshold]
    if number is not None:
        return best[:number]
    if isinstance(decision, LabelDecision):
        counts = torch.tensor([float(len(labels)) for labels in sets])
        return best[decision.decide_merged(scores, counts)[best]]
    votes, position = torch.zeros_like(scores), torch.zeros_like(scores)
    for labels in sets:
        votes[labels] += 1
        position[labels] += torch.arange(len(labels), dtype=scores.dtype, device=scores.device)
    tie = scores >= getattr(head, "theta", 0.5)
    chosen = (2 * votes > len(sets)) | ((2 * votes == len(sets)) & tie)
    # The sort is stable: of labels at equal positions the most probable comes first.
    order = best[(position / votes.clamp(min=1))[best].argsort(stable=True)]
    return order[chosen[order]]
