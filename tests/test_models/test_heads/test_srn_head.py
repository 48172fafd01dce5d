"""SRN: the attention maps, the relations of labels, and training by stages."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.heads.srn_head import attend, relation_net, resample
from mmorderless.models.losses.mean_bce import MeanBCELoss

CLASSES, CHANNELS, SIDE = 3, 8, 6


def build(**options):
    sizes = dict(num_classes=CLASSES, in_channels=CHANNELS, hidden_channels=4, map_size=(4, 4))
    loss = dict(type="MeanBCELoss")
    return MODELS.build(dict(type="SRNHead", loss=loss, **sizes | options))


def features(batch=4):
    return torch.randn(batch, SIDE, 4, 4), torch.randn(batch, CHANNELS, 2, 2)


def samples(label_sets):
    return [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in label_sets]


LABELS = [[0], [], [1, 2], [2]]
# Attention before the softmax and confidence of two classes on a map of 2×2 cells.
ATTENTION = torch.tensor([[[[0.0, 1], [2, 0]], [[0, 0], [0, math.log(3)]]]])
CONFIDENCE = torch.tensor([[[[1.0, -1], [2, 0]], [[-2, 0], [1, -1]]]])


def test_attended_logits_and_weighted_maps_of_an_example():
    logits, weighted = attend(ATTENTION, CONFIDENCE)
    expected = torch.tensor([[1.078671, -0.666667]])
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)
    expected = torch.tensor(
        [[0.060381, 0.060381, 0.537547, 0.041297], [0.019867, 0.083333, 0.121843, 0.134471]]
    )
    torch.testing.assert_close(weighted[0].flatten(1), expected, atol=1e-6, rtol=0)
    weights = weighted / CONFIDENCE.sigmoid()
    expected = torch.tensor([[0.082595, 0.224515, 0.610296, 0.082595], [1 / 6] * 3 + [1 / 2]])
    torch.testing.assert_close(weights[0].flatten(1), expected, atol=1e-6, rtol=0)


def test_losses_of_an_example(monkeypatch):
    """The losses of the three branches, and that of the mean of cls and sr."""
    cls, sr = torch.tensor([[1.0, -1]]), torch.tensor([[0.0, 2]])
    att, _ = attend(ATTENTION, CONFIDENCE)
    expected = dict(loss_cls=0.313262, loss_att=0.353537, loss_sr=1.410038)
    head = build(num_classes=2)
    monkeypatch.setattr(head, "branches", lambda feats: (cls, att, sr))
    losses = head.loss((), samples([[0]]))
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, abs=1e-6)
    assert head(()).tolist() == [[0.5, 0.5]]
    head.joint_loss = True
    losses = head.loss((), samples([[0]]))
    expected = dict(loss=0.724077, loss_att=0.353537)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, abs=1e-6)


def test_attention_sums_to_one_and_a_constant_one_averages():
    confidence = torch.randn(2, 3, 5, 4)
    ones, _ = attend(torch.randn(2, 3, 5, 4), torch.ones(2, 3, 5, 4))
    torch.testing.assert_close(ones, torch.ones(2, 3))
    logits, _ = attend(torch.full((2, 3, 5, 4), 7.0), confidence)
    torch.testing.assert_close(logits, confidence.mean((2, 3)))


def test_the_papers_size():
    net = relation_net(80, 512, (14, 14))
    assert sum(p.numel() for p in net.parameters()) == 874_576
    assert net[6].weight.shape == (2048, 1, 14, 14)


def test_four_filters_see_one_channel_each():
    layer = relation_net(CLASSES, 4, (3, 3))[6]
    x = torch.randn(1, 4, 3, 3)
    changed = x.clone()
    changed[:, 2] += 1
    differs = (layer(x) != layer(changed)).flatten()
    assert differs.nonzero().flatten().tolist() == [8, 9, 10, 11]


def test_relations_do_not_depend_on_the_order_of_classes():
    net = relation_net(CLASSES, 4, (4, 4)).eval()
    maps, order = torch.rand(2, CLASSES, 4, 4), torch.tensor([2, 0, 1])
    expected = net(maps)[:, order]
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight[:, order])
        net[-1].weight.copy_(net[-1].weight[order])
        net[-1].bias.copy_(net[-1].bias[order])
    torch.testing.assert_close(net(maps[:, order]), expected)


def test_relations_train_the_attention_through_the_weighted_maps_alone():
    head, feats = build(side_channels=SIDE), features()
    kept = {}
    head.relation.register_forward_pre_hook(lambda _, inputs: kept.update(weighted=inputs[0]))
    loss = head.loss(feats, samples(LABELS))["loss_sr"]
    weights = [*head.attention.parameters(), *head.confidence.parameters()]
    gradients = torch.autograd.grad(loss, [*weights, kept["weighted"]], retain_graph=True)
    through = torch.autograd.grad(kept["weighted"], weights, gradients[-1], retain_graph=True)
    torch.testing.assert_close(gradients[:-1], through)
    assert torch.autograd.grad(loss, head.fc.weight, allow_unused=True) == (None,)


def test_predictions_are_the_mean_of_classifier_and_relations():
    head, feats = build(side_channels=SIDE).eval(), features()
    cls, att, sr = head.branches(feats)
    torch.testing.assert_close(cls, head.fc(F.adaptive_avg_pool2d(feats[1], 1).flatten(1)))
    for sample, score in zip(head.predict(feats), ((cls + sr) / 2).sigmoid()):
        torch.testing.assert_close(sample.pred_score, score)
    stage = build(side_channels=SIDE, stage="attention").eval()
    stage.load_state_dict(head.state_dict())
    torch.testing.assert_close(stage(feats), att)  # the relations are not trained yet


@pytest.mark.parametrize(
    "stage, trained, loss",
    [
        ("attention", {"attention", "confidence"}, {"loss_att"}),
        ("relation", {"relation"}, {"loss_sr"}),
        (None, {"fc", "attention", "confidence", "relation"}, {"loss_cls", "loss_att", "loss_sr"}),
    ],
)
def test_a_stage_trains_its_parts_and_leaves_the_others_untouched(stage, trained, loss):
    head = build(side_channels=SIDE, stage=stage).train()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    losses = head.loss(features(), samples(LABELS))
    sum(losses.values()).backward()
    optimizer.step()
    after = head.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert losses.keys() == loss
    assert {name.partition(".")[0] for name in changed} == trained
    unused = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


def test_a_side_map_of_another_size_is_averaged_or_interpolated():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert resample(x, (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(resample(x, (4, 4)), x)
    assert resample(x, (8, 8)).shape == (1, 1, 8, 8)
    for size in (1, 4, 9):
        side = torch.randn(2, SIDE, size, size)
        assert build(side_channels=SIDE)((side, torch.randn(2, CHANNELS, 2, 2))).shape == (2, 3)


def test_without_a_side_map_everything_is_read_from_the_last():
    head = build().eval()
    last = torch.randn(2, CHANNELS, 4, 4)
    torch.testing.assert_close(head((torch.randn(2, SIDE, 8, 8), last)), head((last,)))


def test_user_errors_are_one_line():
    with pytest.raises(ValueError, match=r"unknown stage 'both'; choose one of None, attention"):
        build(stage="both")
    with pytest.raises(ValueError, match=r"map_size must be a list of 2 positive .*, got 6"):
        build(map_size=6)
    with pytest.raises(ValueError, match=r"map_size must be a list of 2 .*, got \(4, 0\)"):
        build(map_size=(4, 0))
    with pytest.raises(ValueError, match=r"hidden_channels must be at least 1, got 0"):
        build(hidden_channels=0)
    with pytest.raises(ValueError, match=r"last 2 maps .* gives 1; name .* out_indices"):
        build(side_channels=SIDE)((torch.randn(2, CHANNELS, 2, 2),))
    with pytest.raises(ValueError, match=r"stage -2 .* 6 channels, .* built for 5; set .* to 6"):
        build(side_channels=5)(features())
    with pytest.raises(ValueError, match=r"needs a map .* got \(2, 8\); keep the backbone's map"):
        build()((torch.randn(2, CHANNELS),))
    with pytest.raises(ValueError, match=r"got \(2, 9, 8\); keep .*; ViT out_type='featmap'$"):
        build()((torch.randn(2, 9, CHANNELS),))


@pytest.mark.parametrize("stage", [None, "attention", "relation"])
def test_a_batch_may_be_one_image(stage):
    """The large convolution leaves one value per channel, which batch norm cannot normalize."""
    head = build(side_channels=SIDE, stage=stage).train()
    norm = head.relation[7]
    norm.running_mean.fill_(0.5)
    norm.running_var.fill_(4.0)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    losses = head.loss(features(1), samples([[0]]))
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.requires_grad)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    x = torch.randn(1, 16, 1, 1)
    torch.testing.assert_close(norm(x), (x - 0.5) / (4 + norm.eps) ** 0.5)


def objects(number):
    """Maps of two objects in different columns; label 2: object 1 is to the left of object 0."""
    column = torch.stack([torch.randperm(5)[:2] for _ in range(number)])
    row = torch.randint(5, (number, 2))
    maps = torch.zeros(number, 2, 5, 5)
    for kind in range(2):
        maps[torch.arange(number), kind, row[:, kind], column[:, kind]] = 5.0
    left = column[:, 1] < column[:, 0]
    return maps, torch.stack([torch.ones(number), torch.ones(number), left.float()], 1)


def test_learns_a_spatial_relation_that_a_pooled_head_cannot():
    head = build(in_channels=2, hidden_channels=16, map_size=(5, 5))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    criterion = MeanBCELoss()
    for _ in range(150):
        maps, target = objects(64)
        loss = sum(criterion(logits, target) for logits in head.branches(maps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    maps, target = objects(400)
    pooled, _, relation = head.eval().branches(maps)
    correct = [
        ((x[:, 2] > 0) == target[:, 2].bool()).float().mean().item() for x in (pooled, relation)
    ]
    assert correct[0] < 0.6
    assert correct[1] > 0.95
