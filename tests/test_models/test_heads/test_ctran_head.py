import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.heads.ctran_head import NEGATIVE, POSITIVE, UNKNOWN, CTranHead

C, D = 6, 8


def head_of(num_classes=C, **options):
    torch.manual_seed(0)
    options = dict(embed_size=8, num_layers=2, num_heads=2, dropout=0.0) | options
    config = dict(type="CTranHead", num_classes=num_classes, in_channels=D)
    return MODELS.build(config | options)


def samples_of(label_sets):
    return [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in label_sets]


def test_unknown_classes_are_the_same_as_no_state():
    head, feats = head_of(), torch.randn(2, D, 2, 3)
    states = torch.full((2, C), UNKNOWN)
    torch.testing.assert_close(head(feats, states), head(feats))
    states[0, 1] = POSITIVE
    assert not torch.allclose(head(feats, states)[0], head(feats)[0])
    torch.testing.assert_close(head(feats, states)[1], head(feats)[1])


def test_the_state_of_unknown_classes_stays_zero_in_training():
    head = head_of()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    head.loss(torch.randn(2, D, 2, 3), samples_of([[0], [1, 2]]))["loss"].backward()
    optimizer.step()
    assert (head.state_embedding.weight[UNKNOWN] == 0).all()
    assert (head.state_embedding.weight[NEGATIVE] != 0).all()


@pytest.mark.parametrize("embed_size", [8, 4])
def test_cells_have_no_positions_and_tokens_are_cells(embed_size):
    head, feats = head_of(embed_size=embed_size), torch.randn(2, D, 2, 3)
    logits = head((torch.zeros(1), feats))  # the last stage counts
    shuffled = feats.flatten(2)[:, :, torch.randperm(6)]
    torch.testing.assert_close(head(shuffled.view(2, D, 2, 3)), logits)
    torch.testing.assert_close(head(shuffled.transpose(1, 2)), logits)
    torch.testing.assert_close(torch.cat([head(feats[:1]), head(feats[1:])]), logits)


def test_each_class_has_its_own_weights():
    head = head_of(num_layers=0)
    feats = torch.randn(1, D, 1, 1)
    tokens = head.norm(head.class_embedding)
    weight = head.classifier.weight[:, :, 0]  # (C, H)
    torch.testing.assert_close(head(feats)[0], torch.diag(tokens @ weight.T) + head.classifier.bias)


def test_the_loss_leaves_out_the_known_classes():
    head, feats, labels = head_of(), torch.randn(3, D, 2, 2), [[0, 3], [], [5]]
    head.reseed(0, 0, 0)
    known = head.draw_known(3)
    assert known.any()
    head.reseed(0, 0, 0)
    loss = head.loss(feats, samples_of(labels))["loss"]
    target = torch.stack([F.one_hot(torch.tensor(y, dtype=torch.long), C).sum(0) for y in labels])
    logits = head(feats, torch.where(known, 1 + target, UNKNOWN))
    entries = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    torch.testing.assert_close(loss, entries[~known].mean())
    # The weights that only a known class's own logit depends on have no gradient.
    by_image = torch.autograd.grad(
        head.loss(feats[:1], samples_of(labels[:1]))["loss"], head.classifier.bias
    )
    head.reseed(0, 0, 0)
    head.draw_known(3)
    assert ((by_image[0] == 0) == head.draw_known(1)[0]).all()


def test_the_number_of_known_classes_is_uniform_up_to_three_quarters():
    head = head_of()
    head.reseed(0, 0, 0)
    known = head.draw_known(6000)
    shares = known.sum(1).bincount(minlength=C + 1) / 6000
    torch.testing.assert_close(shares, torch.tensor([0.2] * 5 + [0.0, 0.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(known.float().mean(0), torch.full((C,), 2 / 6), atol=0.03, rtol=0)


def test_a_known_label_raises_the_label_that_it_implies():
    """Class 1 is true exactly with class 0, of which the image tells nothing."""
    head = head_of(num_classes=2)  # one class is known at most
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    samples = samples_of([[0, 1], []] * 8)
    for _ in range(100):
        loss = head.loss(torch.zeros(16, D, 1, 1), samples)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    states = torch.tensor([[POSITIVE, UNKNOWN], [UNKNOWN, UNKNOWN], [NEGATIVE, UNKNOWN]])
    with torch.no_grad():
        probability = head(torch.zeros(3, D, 1, 1), states).sigmoid()[:, 1].tolist()
    assert probability[0] > 0.95
    assert 0.25 < probability[1] < 0.75
    assert probability[2] < 0.05


@pytest.mark.parametrize("channels, size", [(8, 8), (600, 512)])
def test_large_maps_are_projected(channels, size):
    head = CTranHead(3, channels, num_layers=0)
    assert head.classifier.weight.shape == (3, size, 1)
    assert isinstance(head.project, torch.nn.Identity) == (channels == size)


def test_known_labels_are_states():
    head, feats = head_of().eval(), torch.randn(2, D, 2, 3)
    states = torch.full((2, C), UNKNOWN)
    states[0, [4, 1]], states[0, 3] = POSITIVE, NEGATIVE
    samples = samples_of([[], []])
    samples[0].set_field(torch.tensor([4, 1]), "given")
    samples[0].set_field(torch.tensor([3]), "excluded")
    head.predict(feats, samples)
    expected = head(feats, states).sigmoid()
    assert not torch.allclose(expected[0], head(feats)[0].sigmoid())
    expected[0, [4, 1]], expected[0, 3] = 1, 0
    torch.testing.assert_close(torch.stack([s.pred_score for s in samples]), expected)
    above = (expected[0] >= 0.5).nonzero()[:, 0].tolist()
    assert samples[0].pred_label[:2].tolist() == [4, 1]
    assert sorted(samples[0].pred_label.tolist()) == above


def test_without_known_labels_all_are_unknown():
    head, feats = head_of().eval(), torch.randn(2, D, 2, 3)
    for sample, logits in zip(head.predict(feats), head(feats)):
        torch.testing.assert_close(sample.pred_score, logits.sigmoid())
        assert sample.pred_label.tolist() == (logits >= 0).nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    "options, message",
    [
        (
            dict(embed_size=9),
            "embed_size=9 cannot be shared by 2 heads; set it to a multiple of num",
        ),
        (dict(embed_size=0), "embed_size must be at least 1, got 0"),
        (dict(num_heads=0), "num_heads must be at least 1, got 0"),
    ],
)
def test_heads_share_the_size(options, message):
    with pytest.raises(ValueError, match=message):
        head_of(**options)


def test_pooled_features_are_an_error():
    with pytest.raises(ValueError, match=r"needs a map .* got \(2, 8\)"):
        head_of()(torch.randn(2, D))
