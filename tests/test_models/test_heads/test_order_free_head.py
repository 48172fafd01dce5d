import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.decoders.base import LabelDecoder

C, D = 6, 8
SETS = ([0, 3, 4], [], [5], [1, 2])
FEATS = (torch.randn(len(SETS), D, 2, 3, generator=torch.Generator().manual_seed(0)),)


def make(**options):
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, embed_size=4, attention_size=5, dropout=0.0)
    head = dict(type="OrderFreeRNNHead", num_classes=C, in_channels=D, max_steps=7)
    return MODELS.build({**head, **sizes, **options})


def samples(*sets):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in sets]


def watch_rollouts(head):
    """A list that every rollout of the head's decoder will be appended to."""
    made, rollout = [], head.decoder.rollout

    def watched(*args, **options):
        made.append(rollout(*args, **options))
        return made[-1]

    head.decoder.rollout = watched
    return made


def train(head, steps=150):
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(steps):
        losses = head.train().loss(FEATS, samples(*SETS))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return head


@pytest.mark.slow_except("learned")
@pytest.mark.parametrize("stop", [0.5, "learned"])
def test_learns_a_tiny_batch_without_any_order(stop):
    head = train(make(stop=stop))
    # Unused parameters would need find_unused_parameters in DDP.
    assert all(p.grad is not None for p in head.parameters())
    predicted = head.eval().predict(FEATS)
    assert [sorted(s.pred_label.tolist()) for s in predicted] == list(SETS)


@pytest.mark.parametrize("steps", [0, 150])
def test_the_pool_never_repeats(steps):
    head = train(make(stop=0.0), steps)
    made = watch_rollouts(head)
    head.loss(FEATS, samples(range(C), [], [5], [1, 2]))
    predicted = head.eval().predict(FEATS)
    assert made[0].tokens.shape == (len(SETS), C + 1)
    for sample, *of_rollouts in zip(predicted, *(rollout.tokens for rollout in made)):
        for tokens in of_rollouts:  # training and prediction
            assert sorted(tokens.tolist()) == [*range(C), C]  # every class once, then END
        assert sample.sequence.tolist() == sample.pred_label.tolist()


def test_loss_equals_a_loop_over_images_and_steps():
    head = make(stop="learned")
    head.stop_logit.data.fill_(0.3)
    made = watch_rollouts(head)
    losses = head.loss(FEATS, samples(*SETS))
    tokens = made[0].tokens
    fed = head.decoder.rollout(head.pre_logits(FEATS), 4, feed=tokens).logits
    terms, stop_terms, image_terms = [], [], []
    for image, label_set in enumerate(SETS):
        remaining, candidates = set(label_set), list(range(C))
        for t in range(len(label_set) + 1):
            step = fed[image, t, :C]
            emitted = max(candidates, key=lambda c: float(step.detach()[c]))
            assert emitted == tokens[image, t]
            more = torch.tensor(float(bool(remaining)))
            theta = head.stop_logit
            stop_terms.append(
                F.binary_cross_entropy((step[emitted].detach() - theta).sigmoid(), more)
            )
            if t < max(len(label_set), 1):
                truth = torch.tensor([float(c in remaining) for c in range(C)])
                terms.append(F.binary_cross_entropy(step.sigmoid(), truth))
            remaining -= {emitted}
            candidates.remove(emitted)
        pooled = FEATS[0][image].mean((1, 2))
        truth = torch.tensor([float(c in label_set) for c in range(C)])
        image_terms.append(F.binary_cross_entropy(head.image_classifier(pooled).sigmoid(), truth))
    expected = dict(loss=terms, loss_image=image_terms, loss_stop=stop_terms)
    assert losses.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(losses[name], torch.stack(values).mean())
    reached = torch.autograd.grad(losses["loss_stop"], list(head.parameters()), allow_unused=True)
    names = [name for name, _ in head.named_parameters()]
    assert [n for n, grad in zip(names, reached) if grad is not None] == ["stop_logit"]


class Certain(LabelDecoder):
    """Every step gives the classes the same logits."""

    def __init__(self, num_classes, logits, **sizes):
        super().__init__(num_classes)
        self.logits = torch.tensor([*logits, 9.0])  # END's does not matter

    def init_state(self, grid):
        return ()

    def step(self, token, state):
        return self.logits.expand(len(token), -1), state, None


def certain(stop, max_steps=7):
    logits = [0.0, 3.0, -1.0, 1.0, -4.0, 2.0]
    head = make(stop=stop, max_steps=max_steps, decoder=dict(type=Certain, logits=logits))
    return head.eval(), torch.tensor(logits)


@pytest.mark.parametrize(
    "stop, emitted",
    [(1.0, []), (0.9, [1]), (0.7, [1, 5, 3]), (0.5, [1, 5, 3, 0]), (0.0, [1, 5, 3, 0, 2, 4])],
)
def test_stop_threshold(stop, emitted):
    head, logits = certain(stop)
    for sample in head.predict(FEATS):
        assert sample.sequence.tolist() == sample.pred_label.tolist() == emitted
        assert sample.pred_label.dtype == torch.int64
        torch.testing.assert_close(sample.sequence_score, logits[emitted].sigmoid())
        torch.testing.assert_close(sample.pred_score, logits.sigmoid())


def test_max_steps_bounds_the_labels():
    head, _ = certain(0.0, max_steps=4)
    assert head.predict(FEATS)[0].pred_label.tolist() == [1, 5, 3, 0]


@pytest.mark.parametrize("stop", [0.5, "learned"])
def test_stop_bias_emits_more_labels_above_zero_and_fewer_below(stop):
    head, _ = certain(stop)  # θ starts at the logit of 0.5
    emitted = {}
    for bias in (-math.inf, -2.5, 0.0, 1.5, math.inf):
        head.stop_bias = bias
        emitted[bias] = head.predict(FEATS)[0].pred_label.tolist()
    assert emitted == {
        -math.inf: [],
        -2.5: [1],
        0.0: [1, 5, 3, 0],
        1.5: [1, 5, 3, 0, 2],
        math.inf: [1, 5, 3, 0, 2, 4],
    }


@pytest.mark.parametrize("side", [-2.0, 2.0])
def test_the_learned_threshold_moves_between_right_and_wrong_candidates(side):
    """True labels have a logit of `side` + 1 at the least, the others `side` − 1 at the most."""
    logits = [side + 1, side + 2, side - 1, side - 2, side - 3, side - 4]
    head = make(stop="learned", decoder=dict(type=Certain, logits=logits))
    optimizer = torch.optim.Adam([head.stop_logit], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(FEATS, samples([0, 1], [0, 1], [0, 1], [0, 1]))["loss_stop"].backward()
        optimizer.step()
    assert side - 1 < head.stop_logit < side + 1
    assert head.eval().predict(FEATS)[0].pred_label.tolist() == [1, 0]


def test_scores_are_the_largest_sigmoids_up_to_the_step_that_stopped():
    head = train(make(return_attention=True)).eval()
    made = watch_rollouts(head)
    predicted = head.predict(FEATS)
    assert [len(sample.sequence) for sample in predicted] == [3, 0, 1, 2]
    p = made[0].logits[:, :, :C].sigmoid()
    for sample, row in zip(predicted, p):
        n = len(sample.sequence)
        torch.testing.assert_close(sample.pred_score, row[: n + 1].amax(0))
        torch.testing.assert_close(sample.sequence_score, row[range(n), sample.sequence])
        assert sample.attention.shape == (n, 2, 3)


def test_a_batch_equals_its_images_one_by_one():
    head = train(make(stop="learned"), 10).eval()
    together = head.predict(FEATS)
    for i, sample in enumerate(together):
        (alone,) = head.predict((FEATS[0][i : i + 1],), samples([1]))
        assert alone.gt_label.tolist() == [1]
        assert torch.equal(alone.sequence, sample.sequence)
        torch.testing.assert_close(alone.pred_score, sample.pred_score)
        torch.testing.assert_close(alone.sequence_score, sample.sequence_score)


def test_image_level_probabilities_reach_the_decoder():
    head = make()
    grid = head.pre_logits(FEATS)
    assert grid.shape == (len(SETS), 6, D + C)
    p = head.image_classifier(FEATS[0].mean((2, 3))).sigmoid()
    torch.testing.assert_close(grid[:, :, D:], p[:, None].expand(-1, 6, -1))


def test_stages_of_an_image_classifier():
    model = ImageClassifier(
        backbone=dict(type="ResNet", depth=18, base_channels=4, stem_channels=4),
        neck=None,
        head=dict(
            type="OrderFreeRNNHead",
            num_classes=C,
            in_channels=32,
            max_steps=5,
            hidden_size=8,
            embed_size=4,
            attention_size=4,
        ),
    )
    images = torch.randn(2, 3, 64, 64)
    assert model.extract_feat(images, stage="pre_logits").shape == (2, 4, 32 + C)
    losses = model(images, samples([1], []), mode="loss")
    assert all(loss.requires_grad for loss in losses.values())
    model.eval()
    assert model(images).shape[::2] == (2, C)
    assert len(model(images, mode="predict")) == 2


def test_autocast_trains_and_predicts():
    head = make(stop="learned")
    expected = head.loss(FEATS, samples(*SETS))
    with torch.autocast("cpu", torch.bfloat16):
        losses = head.loss(FEATS, samples(*SETS))
        predicted = head.eval().predict(FEATS)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[name], atol=0.05, rtol=0.05)
    assert predicted[0].pred_score.dtype == torch.float32


def test_errors():
    for stop in (1.5, -0.1, "often"):
        with pytest.raises(ValueError, match=f"stop must be a probability in .*, got {stop!r}"):
            make(stop=stop)
    with pytest.raises(ValueError, match="max_steps must be at least 2"):
        make(max_steps=1)
    head = make(max_steps=3)
    with pytest.raises(ValueError, match="cannot place 3 labels in 3 decoding steps; raise max_s"):
        head.loss(FEATS, samples(*SETS))
    with pytest.raises(ValueError, match=r"label set of image 2 .* outside 0 … 5"):
        head.loss(FEATS, samples([0], [], [6], []))
    soft = samples([0], [1], [2], [3])
    for sample in soft:
        sample.set_gt_score(torch.tensor([0.4, 0.6, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"soft labels .* set model\.train_cfg=None"):
        head.loss(FEATS, soft)
    broken = FEATS[0].clone()
    broken[1] = float("nan")
    with pytest.raises(ValueError, match="logits of image 1 of the batch are not finite"):
        head.loss((broken,), samples([0], [1], [2], [3]))
