"""HydraPlus-style head: what attention does to a stream, the streams' number, and the stages."""

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmorderless.models.heads.hydra_head import AttentionMaps, Stream

CHANNELS = (4, 6, 8)
LABELS = [[0], [], [1, 2], [2]]


def build(**options):
    sizes = dict(num_classes=3, in_channels=8, side_channels=(4, 6), num_maps=2)
    sizes |= dict(stream_channels=5, hidden_size=7, loss=dict(type="MeanBCELoss"))
    return MODELS.build(dict(type="HydraHead", **sizes | options))


def features(batch=4):
    return tuple(torch.randn(batch, c, s, s) for c, s in zip(CHANNELS, (8, 4, 2)))


def samples():
    return [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in LABELS]


def stream(**options):
    sizes = dict(channels=4, stream_channels=5, num_maps=2, stride=2, hidden_size=7, dropout=0.5)
    return Stream(**sizes | options).eval()


def test_attention_of_an_example():
    """Batch norm being the identity, [1, −2] lets the first of two cells pass."""
    layer = AttentionMaps(channels=1, num_maps=1).eval()
    nn.init.ones_(layer[0].weight)
    layer[1].eps = 1e-30
    attention = layer(torch.tensor([[[[1.0, -2]]]]))
    assert attention.tolist() == [[[[1, 0]]]]
    one = stream(channels=1, stream_channels=1, num_maps=1)
    one.convolve, one.reduce = nn.Identity(), nn.Identity()
    x = torch.tensor([[[[3.0, 4]]]])
    seen = []
    one.convolve.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].tolist()))
    assert one.attend(x, attention).tolist() == [[[1.5]]]  # the mean of 3 and 0
    assert seen == [[[[[3, 0]]]]]


def test_ones_are_no_attention():
    layer, x = stream(), torch.randn(3, 4, 6, 6)
    seen = layer.attend(x, torch.ones(3, 2, 6, 6))
    expected = layer.convolve(layer.reduce(x)).mean((2, 3))
    torch.testing.assert_close(seen, expected[:, None].expand(-1, 2, -1))


def test_attention_before_the_first_convolution_is_the_same():
    layer, x, attention = stream(), torch.randn(3, 4, 6, 6), torch.rand(3, 2, 6, 6)
    for m in range(2):
        expected = layer.convolve(layer.reduce(x * attention[:, m, None])).mean((2, 3))
        torch.testing.assert_close(layer.attend(x, attention)[:, m], expected)


def test_a_stream_without_attention_does_not_see_the_image():
    layer, x = stream(), torch.randn(3, 4, 6, 6)
    seen = layer(x, torch.zeros(3, 2, 6, 6))
    torch.testing.assert_close(seen, seen[:1].expand(3, -1))
    assert not torch.allclose(layer(x, torch.ones(3, 2, 6, 6)), seen)


def test_attention_is_resized_to_the_nearest_cell():
    layer, x = stream(), torch.randn(3, 4, 6, 6)
    small = torch.rand(3, 2, 3, 3)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(layer.attend(x, small), layer.attend(x, large))


def test_every_stage_attends_to_every_stage():
    head, feats = build().eval(), features()
    assert len(head.streams) == 9
    for source in range(3):  # a source's streams, and only they, depend on its attention
        before = head.stream_features(feats)
        nn.init.ones_(head.attention[source][1].bias)
        changed = [not torch.equal(x, y) for x, y in zip(before, head.stream_features(feats))]
        assert changed == [i // 3 == source for i in range(9)]
    for target, expected in enumerate(CHANNELS):
        assert {head.streams[3 * i + target].reduce.in_channels for i in range(3)} == {expected}
    assert len(build(side_channels=()).streams) == 1


def test_the_main_feature_remains_without_attention():
    head, feats = build().eval(), features()
    for layer in head.attention:
        layer[1].bias.data.fill_(-100.0)
    assert all(torch.allclose(s, s[:1]) for s in head.stream_features(feats))
    assert not torch.allclose(head(feats), head(feats)[:1])


@pytest.mark.parametrize(
    "stage, trained, losses",
    [
        (None, {"attention", "streams", "fusion", "fc"}, ["loss"]),
        (
            "attention",
            {"attention", "streams", "stream_classifiers"},
            [f"loss_stream_{i}" for i in range(9)],
        ),
        ("fusion", {"fusion", "fc"}, ["loss"]),
    ],
)
def test_a_stage_trains_its_parts_and_leaves_the_others_untouched(stage, trained, losses):
    head = build(stage=stage).train()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    found = head.loss(features(), samples())
    sum(found.values()).backward()
    optimizer.step()
    changed = {name for name, x in head.state_dict().items() if not torch.equal(x, before[name])}
    assert list(found) == losses
    assert {name.partition(".")[0] for name in changed} == trained
    assert all(p.grad is not None for p in head.parameters() if p.requires_grad)
    assert len(head.predict(features())) == 4


@pytest.mark.parametrize("stage", [None, "attention", "fusion"])
def test_a_batch_may_be_one_image(stage):
    head = build(stage=stage).train()
    losses = head.loss(features(1), samples()[:1])
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.requires_grad)
    assert all(norm.num_batches_tracked == 0 for norm in (head.fusion[1], head.streams[0].dense[1]))


def test_user_errors_are_one_line():
    with pytest.raises(ValueError, match=r"side_channels must be a list of positive .*, got 4"):
        build(side_channels=4)
    with pytest.raises(ValueError, match=r"needs a map .* got \(2, 8\); keep the backbone's map"):
        build(side_channels=())((torch.randn(2, 8),))
    with pytest.raises(ValueError, match=r"unknown stage 'main'; choose one of None, attention"):
        build(stage="main")
    with pytest.raises(ValueError, match=r"num_maps must be at least 1, got 0"):
        build(num_maps=0)
    with pytest.raises(ValueError, match=r"the last 3 maps .* gives 1; name .* out_indices"):
        build()(features()[-1:])
    with pytest.raises(ValueError, match=r"stage -2 .* map of 6 channels, .* built for 5"):
        build(side_channels=(4, 5))(features())
