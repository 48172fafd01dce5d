import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.losses.multi_order import MultiOrderLoss

C, D = 6, 8
SETS = ([0, 3, 4], [], [5], [1, 2])
FEATS = (torch.randn(len(SETS), D, 2, 3, generator=torch.Generator().manual_seed(0)),)
SIZES = dict(hidden_size=16, embed_size=4, attention_size=5, dropout=0.0)


def make(stop_threshold=0.5, **options):
    torch.manual_seed(0)
    head = dict(
        type="OrderlessRNNHead",
        num_classes=C,
        in_channels=D,
        max_steps=7,
        decoder=dict(type="MultiOrderRNN", **SIZES),
        loss=dict(type="MultiOrderLoss"),
        decoding=dict(stop_threshold=stop_threshold, no_repeat=True),
    )
    return MODELS.build({**head, **options})


def samples(*sets):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in sets]


def watch_rollouts(head):
    """Return a list to which every rollout of the head's decoder will be appended."""
    made = []
    for name in ("rollout", "training_rollout"):
        rollout = getattr(head.decoder, name)

        def watched(*args, rollout=rollout, **options):
            made.append(rollout(*args, **options))
            return made[-1]

        setattr(head.decoder, name, watched)
    return made


def train(head, steps=150):
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(steps):
        losses = head.train().loss(FEATS, samples(*SETS))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return head


@pytest.mark.slow_except("MultiOrderRNN")
@pytest.mark.parametrize("decoder", ["MultiOrderRNN", "AttentionGRU"])
def test_learns_a_tiny_batch_without_any_order(decoder):
    head = train(make(decoder=dict(type=decoder, **SIZES)))
    # Unused parameters would need find_unused_parameters in DDP.
    assert all(p.grad is not None for p in head.parameters())
    predicted = head.eval().predict(FEATS)
    assert [sorted(s.pred_label.tolist()) for s in predicted] == list(SETS)


@pytest.mark.parametrize("steps", [0, 150])
def test_no_label_is_repeated_in_training_or_prediction(steps):
    head = train(make(stop_threshold=1e-6), steps)
    made = watch_rollouts(head)
    sets = (range(C), [], [5], [1, 2])
    head.loss(FEATS, samples(*sets))
    predicted = head.eval().predict(FEATS)
    training, prediction = (rollout.tokens.tolist() for rollout in made)
    for tokens, label_set in zip(training, sets):
        n = max(len(label_set), 1)
        assert len(set(tokens[:n]) - {C}) == n
        assert tokens[n:] == [C] * (C - n)
    for tokens, sample in zip(prediction, predicted):
        assert sorted(tokens) == [*range(C), C]  # every class once, then END
        assert sample.sequence.tolist() == sample.pred_label.tolist() == tokens[:C]


def test_loss_equals_a_loop_over_images_and_steps():
    head = make(loss=dict(type="MultiOrderLoss", loss_weight=2.0))
    made = watch_rollouts(head)
    losses = head.loss(FEATS, samples(*SETS))
    tokens = made[0].tokens
    grid = head.pre_logits(FEATS)
    terms, image_terms = [], []
    for image, label_set in enumerate(SETS):
        remaining, candidates = set(label_set), list(range(C))
        state, token = head.decoder.init_state(grid[image : image + 1]), torch.tensor([C + 1])
        for t in range(max(len(label_set), 1)):  # without labels one step counts
            logits, state, _ = head.decoder.step(token, state)
            truth = torch.tensor([float(c in remaining) for c in range(C)])
            terms.append(F.binary_cross_entropy(logits[0, :C].sigmoid(), truth))
            emitted = max(candidates, key=lambda c: float(logits[0, c].detach()))
            assert emitted == tokens[image, t]
            remaining -= {emitted}
            candidates.remove(emitted)
            token = torch.tensor([emitted])
        pooled = FEATS[0][image].mean((1, 2))
        truth = torch.tensor([float(c in label_set) for c in range(C)])
        p = head.decoder.image_classifier.linear(pooled).sigmoid()
        image_terms.append(F.binary_cross_entropy(p, truth))
    expected = dict(loss=2 * torch.stack(terms).mean(), loss_image=torch.stack(image_terms).mean())
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    inputs = list(head.parameters())
    found, wanted = (
        torch.autograd.grad(sum(values.values()), inputs) for values in (losses, expected)
    )
    for gradient, reference in zip(found, wanted):
        torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-4)


def test_autocast_trains_and_predicts():
    head = make()
    expected = head.loss(FEATS, samples(*SETS))
    with torch.autocast("cpu", torch.bfloat16):
        losses = head.loss(FEATS, samples(*SETS))
        predicted = head.eval().predict(FEATS)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[name], atol=0.05, rtol=0.05)
    assert predicted[0].pred_score.dtype == torch.float32


def test_errors():
    head = make(max_steps=3)
    with pytest.raises(ValueError, match="3 labels in 3 decoding steps; raise max_steps"):
        head.loss(FEATS, samples(*SETS))
    with pytest.raises(ValueError, match=r"image 2 .* outside 0 … 5"):
        head.loss(FEATS, samples([0], [], [6], []))
    broken = FEATS[0].clone()
    broken[1] = float("nan")
    with pytest.raises(ValueError, match="logits of image 1 of the batch are not finite"):
        head.loss((broken,), samples([0], [1], [2], [3]))
    with pytest.raises(TypeError, match="average"):
        MultiOrderLoss(average="world")  # it averages over the local batch
