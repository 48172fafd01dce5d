"""Views of an image are merged into one label set."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.models import LinearClsHead, MultiLabelLinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample, MultiTaskDataSample
from torch import nn

from mmorderless.models import LabelSetTTA
from mmorderless.models.tta import merge_sets

C, D = 6, 8
HEADS = {
    "bce": dict(type="MultiLabelLinearClsHead"),
    "best": dict(type="MultiLabelLinearClsHead", topk=2),
    "class queries": dict(type="ClassQueryHead"),
    "known sets": dict(type="KnownSetsHead"),
    "PLA": dict(type="OrderlessRNNHead", max_steps=5, decoding=dict(end_bias=1.0)),
    **{
        decision: dict(type="DecidedHead", decision=dict(type=decision), loss=dict(type="LSEPLoss"))
        for decision in ("ThresholdDecision", "CountDecision", "QuantityDecision", "MassDecision")
    },
}


class Model(nn.Module):
    """A classifier whose images are its features."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def test_step(self, data):
        return self.head.predict((data["inputs"],), data["data_samples"])


def tta(head=None):
    return LabelSetTTA(Model(head))


def view(scores, labels, **fields):
    sample = DataSample(metainfo=dict(img_path="a.jpg")).set_gt_label([2])
    sample.set_pred_score(torch.tensor(scores)).set_pred_label(torch.tensor(labels).long())
    for name, value in fields.items():
        sample.set_field(torch.tensor(value), name)
    return sample


def merge(head, *views):
    (merged,) = tta(head).merge_preds([views])
    return merged


def test_scores_are_averaged_and_thresholded():
    head = MultiLabelLinearClsHead(4, D, thr=0.5)
    views = view([0.9, 0.2, 0.4, 0.5], [0, 3]), view([0.7, 0.4, 0.7, 0.3], [0, 2])
    merged = merge(head, *views)
    torch.testing.assert_close(merged.pred_score, torch.tensor([0.8, 0.3, 0.55, 0.4]))
    assert merged.pred_label.tolist() == [0, 2]  # the most probable first
    assert (merged.img_path, merged.gt_label.tolist()) == ("a.jpg", [2])
    assert views[0].pred_label.tolist() == [0, 3]
    head.thr = 0.35
    assert merge(head, *views).pred_label.tolist() == [0, 2, 3]
    best = MultiLabelLinearClsHead(4, D, topk=1)
    assert merge(best, *views).pred_label.tolist() == [0]


@pytest.mark.parametrize("decision", ["CountDecision", "QuantityDecision"])
def test_a_learned_number_of_labels_is_averaged(decision):
    head = MODELS.build({**HEADS[decision], "num_classes": 4, "in_channels": D})
    views = view([0.9, 0.2, 0.4, 0.5], [0, 3]), view([0.7, 0.4, 0.7, 0.3], [0])
    assert merge(head, *views).pred_label.tolist() == [0, 2]  # 1.5 labels become 2
    assert merge(head, *views, views[1]).pred_label.tolist() == [0]  # 4/3 become 1


def test_a_share_of_the_mean_probability():
    head = MODELS.build({**HEADS["MassDecision"], "num_classes": 3, "in_channels": D})
    views = view([0.6, 0.1, 0.3], [0]), view([0.2, 0.5, 0.3], [1, 2])
    assert merge(head, *views).pred_label.tolist() == [0, 1]  # 0.4 and 0.3; the share is 0.5


def test_the_majority_of_views_decides_and_the_score_of_a_tie():
    scores = torch.tensor([0.9, 0.1, 0.5, 0.4, 0.9])
    sets = [torch.tensor(labels) for labels in ([1, 0], [0, 2, 3, 1])]
    # 4 was emitted by no view; 2 and 3 by one of two.
    assert merge_sets(None, scores, sets).tolist() == [0, 2, 1]
    assert merge_sets(SimpleNamespace(theta=0.4), scores, sets).tolist() == [0, 2, 1, 3]
    assert merge_sets(None, scores, [*sets, torch.tensor([3])]).tolist() == [0, 3, 1]
    assert merge_sets(None, scores, [sets[0][:0]] * 2).tolist() == []


def test_a_merged_set_has_no_sequence():
    fields = dict(sequence=[1, 1], sequence_score=[0.9, 0.8], end_score=0.5, attention=[[1.0]])
    merged = merge(None, *[view([0.1, 0.9], [1], **fields)] * 2)
    assert sorted(merged.keys()) == ["gt_label", "pred_label", "pred_score"]
    assert merged.pred_label.tolist() == [1]


@pytest.mark.parametrize("name", HEADS)
def test_one_view_is_the_plain_prediction(name):
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    head = MODELS.build({"num_classes": C, "in_channels": D, **HEADS[name]}).eval()
    if name == "known sets":
        head.set_label_sets("abcdef", [[0, 1], [2], [2], [0, 3, 5]])
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    is_pooled = isinstance(head, MultiLabelLinearClsHead)
    feats = torch.randn(20, D) if is_pooled else torch.randn(20, D, 2, 2)
    plain = head.predict((feats,))
    data = dict(inputs=[feats], data_samples=[[DataSample() for _ in feats]])
    merged = tta(head).test_step(data)
    assert any(len(sample.pred_label) > 1 for sample in plain)
    for one, other in zip(merged, plain, strict=True):
        torch.testing.assert_close(one.pred_score, other.pred_score, rtol=0, atol=0)
        assert sorted(one.pred_label.tolist()) == sorted(other.pred_label.tolist())
        if not is_pooled:  # which lists labels in the order of the classes
            assert one.pred_label.tolist() == other.pred_label.tolist()


def test_predictions_without_a_label_set_are_an_error():
    text = "LabelSetTTA needs pred_label and pred_score, which LinearClsHead does not predict; set"
    with pytest.raises(ValueError, match=text):
        merge(LinearClsHead(2, D), MultiTaskDataSample())
