import pytest
import torch
from mmpretrain.structures import DataSample

from mmorderless.models.heads.glimpse_head import (
    GlimpseHead,
    crop,
    share_of_labels_found,
    windows_around,
)

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0]])
LABELS = torch.tensor([[1.0, 0, 1, 0]])


def head(**options):
    sizes = dict(num_classes=3, in_channels=4, hidden_size=8, num_places=2)
    return GlimpseHead(**{**sizes, "loss": dict(type="SoftmaxSquaredLoss"), **options})


def samples(*label_sets):
    return [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in label_sets]


def test_rewards_by_hand():
    assert share_of_labels_found(LOGITS, LABELS).tolist() == [1.0]
    assert share_of_labels_found(torch.tensor([[2, 0.7, 0.5, 0]]), LABELS).tolist() == [0.5]
    assert share_of_labels_found(LOGITS, torch.zeros(1, 4)).tolist() == [0.0]


def test_the_logit_of_a_class_is_its_largest_score(monkeypatch):
    built = head(num_places=1).eval()
    scores = torch.tensor([[[0.1, 0.2, 0.3], [0.5, 0, 0.1]], [[0.2, 0.9, 0.1], [0, 0.3, 0.3]]])
    monkeypatch.setattr(built.fc, "forward", lambda read: scores.flatten(0, 1)[None])
    assert built(torch.randn(1, 4, 3, 3))[0].tolist() == pytest.approx([0.5, 0.9, 0.3])


def test_windows_stay_inside_and_keep_their_sizes():
    places = torch.randn(50, 2)
    sizes = head().sizes
    assert len(sizes) == 9
    windows = windows_around(places, sizes)
    assert windows.min() >= 0
    assert windows.max() <= 1
    torch.testing.assert_close(windows[..., 2:] - windows[..., :2], sizes.expand(50, 9, 2))
    [[middle]] = windows_around(torch.tensor([[0.4, 0.5]]), torch.tensor([[0.2, 0.4]]))
    assert middle.tolist() == pytest.approx([0.3, 0.3, 0.5, 0.7])


def test_windows_are_sampled_at_the_centers_of_cells():
    maps = torch.randn(2, 4, 6, 6)
    windows = torch.tensor([[0.0, 0, 1, 1], [0.5, 0, 1, 0.5]]).expand(2, 2, 4)
    whole = crop(maps, windows, 6)[:, 0]
    torch.testing.assert_close(whole, maps.flatten(1))
    corner = crop(maps, windows, 3)[:, 1]
    torch.testing.assert_close(corner, maps[:, :, :3, 3:].flatten(1))


def test_places_are_drawn_in_training_only():
    built, feats = head(dropout=0.0), torch.randn(2, 4, 3, 3)
    drawn = [built.train().rollout(feats) for _ in range(2)]
    assert not torch.equal(drawn[0][2], drawn[1][2])
    assert all(log_density.requires_grad for _, log_density, _ in drawn)
    fixed = [built.eval().rollout(feats) for _ in range(2)]
    assert torch.equal(fixed[0][2], fixed[1][2])
    assert torch.equal(fixed[0][0], fixed[1][0])
    assert fixed[0][1].tolist() == [0, 0]


def test_a_place_that_is_rewarded_becomes_likelier(monkeypatch):
    """Two arms: places in the right half have reward 1, those in the left half 0."""
    torch.manual_seed(0)
    built = head(num_places=1, dropout=0.0, policy_weight=1.0).train()
    rollout, seen = built.rollout, {}

    def remember(feats):
        seen["out"] = rollout(feats)
        return seen["out"]

    monkeypatch.setattr(built, "rollout", remember)
    monkeypatch.setattr(
        "mmorderless.models.heads.glimpse_head.share_of_labels_found",
        lambda *_: (seen["out"][2][:, 0, 0] > 0.5).float(),
    )
    feats, labels = torch.ones(64, 4, 3, 3), samples(*[[0]] * 64)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        built.loss(feats, labels)["loss_policy"].backward()
        optimizer.step()
    x = built.eval().rollout(feats[:1])[2][0, 0, 0]
    assert x > 0.6
    assert built.baseline > 0.5


def test_the_policys_loss_trains_no_scores():
    built, feats = head().train(), torch.randn(4, 4, 3, 3, requires_grad=True)
    losses = built.loss(feats, samples([0], [1, 2], [], [2]))
    assert set(losses) == {"loss", "loss_policy"}
    losses["loss_policy"].backward(retain_graph=True)
    assert built.fc.weight.grad is None
    assert built.locate.weight.grad.abs().sum() > 0
    losses["loss"].backward()
    assert built.fc.weight.grad.abs().sum() > 0
    assert feats.grad.abs().sum() > 0


def test_labels_have_a_share_of_the_softmax(monkeypatch):
    built = head(thr=0.2, num_classes=4)
    monkeypatch.setattr(built, "forward", lambda feats: LOGITS)
    [sample] = built.predict(None)
    torch.testing.assert_close(sample.pred_score, LOGITS[0].softmax(0))
    assert sample.pred_label.tolist() == [0]
    built.thr = 0.1
    assert built.predict(None)[0].pred_label.tolist() == [0, 2]
    best = head(topk=3, num_classes=4)
    monkeypatch.setattr(best, "forward", lambda feats: LOGITS)
    assert best.predict(None)[0].pred_label.tolist() == [0, 2, 3]


def test_tokens_have_no_windows():
    with pytest.raises(ValueError, match=r"needs a map .*, got \(1, 9, 4\); keep the backbone's"):
        head()(torch.randn(1, 9, 4))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_places=0), "num_places must be at least 1, got 0"),
        (dict(pooled_size=0), "pooled_size must be at least 1, got 0"),
        (dict(deviation=0), "deviation must be positive, got 0"),
    ],
)
def test_sizes_must_be_positive(options, message):
    with pytest.raises(ValueError, match=message):
        head(**options)
