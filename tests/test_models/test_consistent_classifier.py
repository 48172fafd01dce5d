import pytest
import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmorderless.models.consistent_classifier import ConsistentClassifier

HEAD = dict(
    type="AttentionConsistencyHead", num_classes=3, in_channels=8, loss=dict(type="MeanBCELoss")
)


@MODELS.register_module()
class PointwiseBackbone(BaseModule):
    """1×1 convolutions, which commute with mirroring."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 1)

    def forward(self, images):
        return (self.layer(images).relu(),)


def build(backbone="StridedCNN", **options):
    backbone = dict(type=backbone)
    if backbone["type"] == "StridedCNN":
        backbone["channels"] = (4, 8)
    model = dict(type="ConsistentClassifier", backbone=backbone, head=HEAD, **options)
    return MODELS.build(model)


def batch(size=18):
    labels = [[0, 1], [2], [], [1]]
    samples = [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in labels]
    return torch.randn(4, 3, size, size), samples


def test_a_backbone_that_commutes_with_mirroring_is_consistent():
    losses = build("PointwiseBackbone").loss(*batch())
    assert losses["loss_flip"] == 0
    assert build("StridedCNN").loss(*batch())["loss_flip"] > 0


def test_constant_images_are_consistent_between_sizes():
    images = torch.randn(4, 3, 1, 1).expand(4, 3, 18, 18)
    losses = build("PointwiseBackbone", scale=8 / 9).loss(images, batch()[1])
    assert set(losses) == {"loss", "loss_flip", "loss_scale"}
    assert losses["loss_scale"] < 1e-10
    assert build("PointwiseBackbone", scale=8 / 9).loss(*batch())["loss_scale"] > 1e-5


@pytest.mark.parametrize("scale, sizes", [(None, [18]), (8 / 9, [18, 16])])
def test_training_sees_both_sides_at_each_size_and_prediction_one_view(scale, sizes):
    model = build(scale=scale)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images, samples = batch()
    sum(model.loss(images, samples).values()).backward()
    assert model.num_views == 2 * len(sizes)
    assert [tuple(x.shape) for x in seen] == [(8, 3, size, size) for size in sizes]
    for x in seen:
        assert torch.equal(x[:4], x[4:].flip(-1))
    assert torch.equal(seen[0][:4], images)
    assert all(weight.grad is not None for weight in model.parameters())
    seen.clear()
    assert len(model.predict(images)) == 4
    assert [len(x) for x in seen] == [4]


def test_bce_checkpoint_gives_the_same_predictions():
    model = build(scale=8 / 9).eval()
    plain = MODELS.build(
        dict(
            type="ImageClassifier",
            backbone=dict(type="StridedCNN", channels=(4, 8)),
            neck=dict(type="GlobalAveragePooling"),
            head={**HEAD, "type": "MultiLabelLinearClsHead"},
        )
    ).eval()
    model.load_state_dict(plain.state_dict())
    images, _ = batch()
    for ours, theirs in zip(model.predict(images), plain.predict(images)):
        torch.testing.assert_close(ours.pred_score, theirs.pred_score)


@pytest.mark.parametrize(
    "options, message",
    [
        (
            dict(backbone=dict(type="FeaturePassThrough")),
            "cached features.*use a config that reads",
        ),
        (dict(freeze_encoder=True), "trains the encoder.*set freeze_encoder=False"),
        (dict(scale=1.5), "scale must be between 0 and 1, or None, got 1.5"),
        (
            dict(head={**HEAD, "type": "MultiLabelLinearClsHead"}),
            "trains an AttentionConsistencyHead, got MultiLabelLinearClsHead; use LabelSet",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, message):
    model = dict(backbone=dict(type="StridedCNN", channels=(4, 8)), head=HEAD) | options
    with pytest.raises(ValueError, match=message) as error:
        ConsistentClassifier(**model)
    assert "\n" not in str(error.value)
