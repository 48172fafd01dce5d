import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from mmorderless.models.heads.regions import RegionFeatures, grid_windows
from mmorderless.models.heads.wsddn_head import WindowClsHead, WSDDNHead

BCE = dict(type="MeanBCELoss")
RATIOS = (0.5, 1.0, 2.0)


def wsddn(classes=2, channels=4, **options):
    return WSDDNHead(classes, channels, hidden_size=8, loss=BCE, **options)


class Given(nn.Module):
    """Gives M^c or M^d, whatever the features."""

    def __init__(self, values):
        super().__init__()
        self.values = torch.tensor(values, dtype=torch.float)[None]

    def forward(self, hidden):
        return self.values


def test_example_by_hand():
    head, feats = wsddn().eval(), torch.zeros(1, 4, 3, 3)
    head.fc_class = Given([[1, 0], [0, 2], [0, 0]])
    head.fc_window = Given([[0, 0], [0, 3], [1, 0]])
    [sample] = head.predict(feats)
    assert sample.pred_score.tolist() == pytest.approx([0.468264, 0.835851], abs=1e-6)
    assert sample.pred_label.tolist() == [1]
    assert head.sharpened_scores(feats, 0.5)[0].tolist() == pytest.approx(
        [0.489220, 0.978697], abs=1e-6
    )
    for labels, loss in ([0, 1], 0.938027), ([1], 0.810913):  # sums over the two classes
        samples = [DataSample().set_gt_label(labels)]
        assert 2 * head.loss(feats, samples)["loss"].item() == pytest.approx(loss, abs=1e-6)


def test_scores_are_distributions_over_classes_and_windows():
    head, feats = wsddn(5).eval(), torch.randn(2, 4, 6, 6)
    number = len(head.regions.windows)
    scores = head.region_scores(feats)
    assert scores.shape == (2, number, 5)
    classes, windows = wsddn(5).eval(), wsddn(5).eval()
    classes.fc_window = Given([[0.0] * 5] * number)  # all windows alike: the mean of S^c
    torch.testing.assert_close(classes.region_scores(feats).sum((1, 2)), torch.ones(2))
    windows.fc_class = Given([[0.0] * 5] * number)  # all classes alike: S^d / 5
    torch.testing.assert_close(windows.region_scores(feats).sum(1), torch.full((2, 5), 0.2))
    assert (scores.sum(1) <= 1 + 1e-6).all()
    assert head.sharpened_scores(feats, 0.01).max() <= 1


@pytest.mark.parametrize("change", ["repeated", "permuted"])
def test_the_windows_are_a_set(change):
    """φ does not depend on their order, nor on each being there twice."""
    head, feats = wsddn(3).eval(), torch.randn(2, 4, 6, 6)
    before, windows = head(feats), head.regions.windows
    order = torch.randperm(len(windows))
    head.regions.windows = windows[order] if change == "permuted" else windows.repeat(2, 1)
    torch.testing.assert_close(head(feats), before)


def test_logits_stay_finite_where_a_score_is_0_or_1():
    head, feats = wsddn().eval(), torch.zeros(1, 4, 3, 3)
    head.fc_class = Given([[100, -100], [100, -100]])
    head.fc_window = Given([[0, 0], [0, 0]])
    losses = [head.loss(feats, [DataSample().set_gt_label([c])])["loss"].item() for c in (0, 1)]
    assert losses == pytest.approx([1e-4, 9.21034], rel=1e-3)  # −log(1 − 1e-4) and −log 1e-4


def test_windows_of_every_shape_reach_every_border():
    assert grid_windows([1.0], [1.0]).tolist() == [[0, 0, 1, 1]]
    halves = grid_windows([0.5], [1.0])
    assert len(halves) == 1 + 3 * 3
    assert halves[1:4].tolist() == [[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], [0.5, 0, 1, 0.5]]
    windows = grid_windows((1, 1 / 2, 1 / 3), RATIOS)
    assert windows[0].tolist() == [0, 0, 1, 1]
    assert windows.min() == 0
    assert windows.max() <= 1 + 1e-6
    assert len(windows.unique(dim=0)) == len(windows)
    size = windows[:, 2:] - windows[:, :2]
    for shape in size.unique(dim=0):
        same = windows[(size - shape).abs().amax(1) < 1e-6]
        torch.testing.assert_close(same[:, 2:].amax(0), torch.ones(2))
        torch.testing.assert_close(same[:, :2].amin(0), torch.zeros(2))


def test_pooled_windows_are_means_of_their_cells():
    feats = torch.randn(2, 4, 6, 6)
    regions = RegionFeatures(4, 8, 1, 0.0)
    regions.windows = grid_windows([0.5], [1.0])
    pooled = regions.pool(feats)
    assert pooled.shape == (2, 10, 4)
    torch.testing.assert_close(pooled[:, 0], feats.mean((2, 3)))
    torch.testing.assert_close(pooled[:, 1], feats[:, :, :3, :3].mean((2, 3)))
    torch.testing.assert_close(regions.pool(feats, whole=True), pooled[:, :1])
    quarters = RegionFeatures(4, 8, 2, 0.0).pool(feats)
    means = feats[0, 0].unfold(0, 3, 3).unfold(1, 3, 3).mean((2, 3))
    torch.testing.assert_close(quarters[0, 0, :4], means.flatten())


def test_the_students_logits_come_from_the_whole_image():
    head, feats = WindowClsHead(3, 4, hidden_size=8, loss=BCE).eval(), torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(head(feats), head.fc(head.regions(feats)[:, 0]))


def test_user_errors_are_one_line():
    with pytest.raises(ValueError, match=r"needs a map .* got \(1, 4\); keep the backbone's"):
        wsddn()(torch.randn(1, 4))
    with pytest.raises(ValueError, match=r"pooled_size must be at least 1, got 0"):
        wsddn(pooled_size=0)


def test_tokens_have_no_windows():
    with pytest.raises(ValueError, match=r"needs a map .*, got \(1, 9, 4\); keep the backbone's"):
        wsddn()(torch.randn(1, 9, 4))
