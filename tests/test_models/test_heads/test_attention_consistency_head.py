import pytest
import torch
from mmpretrain.models.heads import MultiLabelLinearClsHead
from mmpretrain.structures import DataSample

from mmorderless.models.heads.attention_consistency_head import (
    AttentionConsistencyHead,
    flip_difference,
    scale_difference,
)

FEATURES = torch.tensor([[[1.0, 0], [2, 1]], [[0.0, 1], [1, 0]]])  # (D, h, w)
BCE = dict(type="MeanBCELoss")


def head(classes=2, channels=2, loss=BCE, **options):
    return AttentionConsistencyHead(
        num_classes=classes, in_channels=channels, loss=loss, init_cfg=None, **options
    )


@pytest.fixture
def example():
    built = head()
    with torch.no_grad():
        built.fc.weight.copy_(torch.tensor([[1.0, -1], [0, 2]]))
        built.fc.bias.copy_(torch.tensor([0.5, -0.5]))
    return built


def samples(*label_sets):
    return [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in label_sets]


def test_example_by_hand(example):
    maps = example.cam((FEATURES[None],))
    assert maps[0].tolist() == [[[1, -1], [1, 1]], [[0, 2], [2, 0]]]
    assert example((FEATURES[None],)).tolist() == [[1.0, 0.5]]
    other = torch.tensor([[[0.0, 1], [1, 2]], [[1.0, 0], [0, 2]]])
    assert flip_difference(example.cam(torch.stack([FEATURES, other]))) == 0.625
    assert flip_difference(example.cam(torch.stack([FEATURES, FEATURES.flip(-1)]))) == 0
    large, small = torch.tensor([[0.0, 2], [4, 6]]), torch.tensor([[3.0]])
    assert scale_difference(large[None, None], small[None, None]) == 5


def test_maps_of_coprime_sides_are_compared_where_they_overlap():
    large, small = torch.randn(1, 1, 3, 1), torch.randn(1, 1, 2, 1)
    a, b = large.flatten(), small.flatten()
    pairs = [(0, 0), (0, 0), (1, 0), (1, 1), (2, 1), (2, 1)]  # on the six cells of the multiple
    expected = sum((a[i] - b[j]) ** 2 for i, j in pairs) / 6
    torch.testing.assert_close(scale_difference(large, small), expected)


def test_mean_of_the_activation_map_and_the_bias_are_the_logit():
    built, feats = head(5, 7), torch.randn(3, 7, 4, 6)
    torch.nn.init.normal_(built.fc.bias)
    means = built.cam(feats).mean((2, 3)) + built.fc.bias
    torch.testing.assert_close(built(feats), means)


def test_consistency_trains_the_features_and_not_the_weights(example):
    feats = torch.randn(4, 2, 3, 3, requires_grad=True)
    small = torch.randn(4, 2, 2, 2, requires_grad=True)
    losses = example.consistency_loss([feats, small], samples([0], [1]))
    (losses["loss_flip"] + losses["loss_scale"]).backward()
    assert example.fc.weight.grad is None
    assert (feats.grad != 0).any(3).any(2).any(1).all()  # both views of both images
    assert (small.grad != 0).any(3).any(2).any(1).all()


def test_the_terms_are_weighted_in_units_of_a_loss_summed_over_classes():
    torch.manual_seed(0)
    built, label_sets = head(4, 3, flip_weight=0.6, scale_weight=0.8), samples([0, 2], [])
    large, small = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 2, 2)
    losses = built.consistency_loss([large, small], label_sets)
    both = torch.cat([built(large), built(small)])
    target = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0]]).repeat(4, 1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(both, target)
    torch.testing.assert_close(losses["loss"], expected)
    flip = flip_difference(built.cam(large)) + flip_difference(built.cam(small))
    torch.testing.assert_close(losses["loss_flip"], 0.6 * flip / 4)
    scale = scale_difference(built.cam(large), built.cam(small))
    torch.testing.assert_close(losses["loss_scale"], 0.8 * scale / 4)
    assert set(built.consistency_loss([large], label_sets)) == {"loss", "loss_flip"}


def test_without_consistency_it_is_weighted_bce_on_all_views():
    share = [0.5, 0.2, 0.05, 0.9]
    loss = dict(type="PriorWeightedBCELoss", positive_share=share)
    built = head(4, 3, loss, flip_weight=0.0, scale_weight=0.0)
    large, small = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 2, 2)
    losses = built.consistency_loss([large, small], samples([0, 2], []))
    target = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0]]).repeat(4, 1)
    r = torch.tensor(share)
    weight = torch.where(target > 0, torch.exp(1 - r), torch.exp(r))
    logits = torch.cat([built(large), built(small)])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight)
    torch.testing.assert_close(sum(losses.values()), expected)


def test_it_predicts_as_the_linear_head_whose_weights_it_takes():
    built = head(4, 3)
    linear = MultiLabelLinearClsHead(num_classes=4, in_channels=3, loss=BCE)
    built.load_state_dict(linear.state_dict())
    feats = torch.randn(5, 3, 2, 2)
    for ours, theirs in zip(built.predict((feats,)), linear.predict((feats.mean((2, 3)),))):
        torch.testing.assert_close(ours.pred_score, theirs.pred_score)
        assert torch.equal(ours.pred_label, theirs.pred_label)


def test_tokens_have_no_activation_map():
    with pytest.raises(ValueError, match=r"needs a map .*, got \(1, 9, 2\); keep the backbone's"):
        head().cam(torch.randn(1, 9, 2))


def test_pooled_features_are_refused():
    with pytest.raises(ValueError, match=r"needs a map .* got \(4, 2\); keep the backbone's map"):
        head().consistency_loss([torch.randn(4, 2)], samples([0], [1]))
