"""The LSTM on class queries: its equations, its masks, and what trains what."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.labels.vocabulary import IGNORE, MASKED
from mmorderless.models.decoders.class_query_rnn import ClassQueryLSTM
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import decode
from mmorderless.models.heads.known_labels import set_known_labels
from mmorderless.models.losses.aligned import FixedOrderLoss, MLALoss, PLALoss
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy

B, L, D, C, H, T = 4, 6, 9, 5, 8, 4
LABELS = [torch.tensor(x, dtype=torch.long) for x in ([0, 4], [], [2], [0, 1, 3])]
FEATS = (torch.randn(B, D, 2, 3),)
LOSSES = {
    "PLA": dict(type="PLALoss"),
    "MLA": dict(type="MLALoss"),
    "OCD": dict(type="OCDLoss"),
    "fixed order": dict(type="FixedOrderLoss", order="dictionary", classes=[*"abcde"]),
    "teacher forcing": dict(
        type="FixedOrderLoss", order="dictionary", classes=[*"abcde"], teacher_forcing=True
    ),
    "prompts": dict(type="PLALoss", prompt=0.5),
}


def make(**options):
    torch.manual_seed(1)
    sizes = dict(hidden_size=H, embed_size=3, class_hidden_size=7, query_size=4)
    return ClassQueryLSTM(C, D, **sizes, dropout=0.0, **options)


def head(**options):
    torch.manual_seed(1)
    decoder = dict(
        type="ClassQueryLSTM",
        hidden_size=H,
        embed_size=3,
        dropout=0.0,
        class_hidden_size=16,
        query_size=8,
    )
    return MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=C,
            in_channels=D,
            max_steps=6,
            **{"decoder": decoder, **options},
        )
    )


def samples():
    return [DataSample().set_gt_label(labels) for labels in LABELS]


@torch.no_grad()
def written_out(decoder, cells, tokens):
    """Logits of the docstring's equations for one image (L, D) that emits tokens."""
    z = decoder.queries(cells[None]).logits[0]
    p = z.sigmoid()
    h = (decoder.init_hidden.weight @ cells.mean(0) + decoder.init_hidden.bias).tanh()
    c = torch.zeros_like(h)
    w_end, v = decoder.end.weight[0, :H], decoder.end.weight[0, H:]
    e, token, logits = [0.0] * C, C + 1, []
    for emitted in tokens:
        x = torch.cat([decoder.embedding.weight[token], p, torch.tensor(e)])
        h, c = (state[0] for state in decoder.lstm(x[None], (h[None], c[None])))
        u = p * (1 - torch.tensor(e))
        s = torch.stack([u.sum(), u.max(), (1 - u).log().sum()])
        labels = decoder.alpha * z
        if decoder.correction is not None:
            labels = labels + decoder.correction.weight @ h
        step = [MASKED if e[k] else float(labels[k]) for k in range(C)]
        logits.append([*step, float(w_end @ h + v @ s + decoder.end.bias[0])])
        token = emitted
        if token < C:
            e[token] = 1.0
    return torch.tensor(logits)


@pytest.mark.parametrize("corrects", [False, True])
def test_logits_are_those_of_the_equations(corrects):
    decoder, grid = make(corrects=corrects).eval(), torch.randn(B, L, D)
    with torch.no_grad():
        decoder.alpha.fill_(1.3)
        if corrects:
            assert not decoder.correction.weight.any()  # it starts at 0
            decoder.correction.weight.normal_()
    tokens = torch.tensor([[3, 1, 0, C], [2, C, 4, 0], [C, C, C, C], [0, 4, C, 2]])
    rollout = decoder.rollout(grid, T, choose=lambda t, _, images: tokens[images, t])
    for b in range(B):
        expected = written_out(decoder, grid[b], tokens[b].tolist())
        torch.testing.assert_close(rollout.logits[b], expected, atol=1e-5, rtol=1e-5)


def test_emitted_labels_are_never_emitted_again_even_at_a_large_end_bias():
    decoder, grid = make().eval(), torch.randn(B, L, D)
    rollout, _ = decode(decoder, grid, C + 1, Decoding(end_bias=100.0))
    for row in rollout.tokens.tolist():
        assert sorted(row) == [*range(C), C]  # every label once, then END
    assert rollout.logits.isfinite().all()
    beams = decode(decoder, grid, C + 1, Decoding(beam_width=3, end_bias=4.0))[1]
    for row in beams.tokens[:, 0].tolist():
        labels = [token for token in row if token < C]
        assert len(set(labels)) == len(labels)


def test_half_precision_holds_the_mask():
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.tensor(MASKED, dtype=dtype).item() == MASKED
    assert torch.tensor([0.0, MASKED]).softmax(0)[1] == 0


def test_the_sequences_loss_reaches_the_class_logits_through_alpha_alone():
    decoder, grid = make(), torch.randn(B, L, D)
    start = decoder.encode(grid).detach().requires_grad_()
    lengths = [len(labels) + 1 for labels in LABELS]
    logits = decoder.training_rollout(start, lengths).logits
    PLALoss()(logits, LABELS).backward(retain_graph=True)
    found = start.grad[:, :C].clone()
    (of_logits,) = torch.autograd.grad(PLALoss()(logits, LABELS), logits)
    through_alpha = decoder.alpha.detach() * of_logits[:, :, :C].sum(1)
    assert found.abs().sum() > 0
    torch.testing.assert_close(found, through_alpha)
    # END depends on z by its inputs alone, which have no gradient.
    start.grad = None
    decoder.rollout(start, 3).logits[:, :, C].sum().backward()
    assert not start.grad[:, :C].any()
    assert start.grad[:, C : C + H].any()


def test_a_masked_target_is_left_out_of_the_loss():
    """A fixed order asks for labels that were emitted before their turn."""
    logits = torch.randn(2, 3, C + 1, requires_grad=True)
    masked = torch.zeros_like(logits, dtype=torch.bool)
    masked[0, 1, 2] = masked[1, 2, 0] = True
    tokens = torch.tensor([[1, 2, C], [3, C, IGNORE]])
    kept = torch.tensor([[1, IGNORE, C], [3, C, IGNORE]])
    loss = FixedOrderLoss("dictionary", [*"abcde"])
    found = loss.loss_of_tokens(logits.masked_fill(masked, MASKED), tokens)
    torch.testing.assert_close(
        found, sequence_cross_entropy(logits.masked_fill(masked, MASKED), kept)
    )
    found.backward()
    assert not logits.grad[0, 1].any()
    assert found < 20


def test_alignments_never_ask_for_a_masked_label():
    """PLA and MLA align what was emitted to its step or to an earlier one."""
    torch.manual_seed(0)
    decoder = make()
    with torch.no_grad():
        decoder.end.bias.fill_(-3.0)
    for _ in range(20):
        grid = torch.randn(B, L, D)
        logits = decoder.training_rollout(grid, [len(labels) + 1 for labels in LABELS]).logits
        for loss in (PLALoss(), MLALoss()):
            tokens = loss.align(logits, LABELS)
            target = logits.gather(2, tokens.clamp(min=0)[:, :, None])[:, :, 0]
            assert not (target[tokens != IGNORE] == MASKED).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_it(loss):
    module = head(loss=LOSSES[loss])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    values = []
    for _ in range(80):
        losses = module.loss(FEATS, samples())
        assert set(losses) == {"loss", "loss_classes"}
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.5 * values[0]
    assert all(p.grad is not None for p in module.parameters())
    predicted = module.eval().predict(FEATS)
    assert [sorted(s.pred_label.tolist()) for s in predicted] == [x.tolist() for x in LABELS]


def test_the_heads_losses_are_weighted_and_share_the_class_queries():
    module = head(loss=dict(type="PLALoss", loss_weight=2.0))
    module.decoder.dropout = module.decoder.queries.dropout = 0.5
    calls = []
    module.decoder.queries.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(0)
    losses = module.loss(FEATS, samples())
    assert len(calls) == 1
    torch.manual_seed(0)
    start = module.decoder.encode(module.pre_logits(FEATS))
    alone = module.loss_module.forward_train(module.decoder, start, LABELS, 6)["loss"]
    torch.testing.assert_close(losses["loss"], 4 / C * alone)
    truth = torch.stack([F.one_hot(labels, C).sum(0) for labels in LABELS]).float()
    expected = F.binary_cross_entropy_with_logits(start[:, :C], truth)
    torch.testing.assert_close(losses["loss_classes"], expected)


def test_another_loss_than_order_free_is_asked_for():
    module = head(loss=dict(type="OrderFreeLoss"), decoding=dict(path_threshold=0.1))
    with pytest.raises(ValueError, match=r"OrderFreeLoss .* ClassQueryLSTM masks .* PLALoss") as e:
        module.loss(FEATS, samples())
    assert "\n" not in str(e.value)


def test_scores_are_those_of_the_class_queries_unless_another_kind_is_asked_for():
    module = head().eval()
    scores = module.decoder.queries(module.pre_logits(FEATS)).logits.sigmoid()
    for b, sample in enumerate(module.predict(FEATS)):
        torch.testing.assert_close(sample.pred_score, scores[b])
    assert (module.score, head(score="max").score) == ("own", "max")
    module.score = "max"
    largest = module(FEATS)[:, 0].softmax(1)
    assert not torch.allclose(module.predict(FEATS)[0].pred_score, scores[0])
    assert (module.predict(FEATS)[0].pred_score >= largest[0, :C] - 1e-6).all()


@pytest.mark.parametrize("decoding", [dict(end_bias=2.0), dict(beam_width=3, end_bias=2.0)])
def test_the_attention_of_a_label_is_its_querys(decoding):
    module = head(return_attention=True, decoding=decoding).eval()
    maps = module.decoder.queries(module.pre_logits(FEATS)).attention.view(B, C, 2, 3)
    predicted = module.predict(FEATS)
    assert any(len(sample.sequence) > 1 for sample in predicted)
    for b, sample in enumerate(predicted):
        torch.testing.assert_close(sample.attention, maps[b, sample.sequence])


def test_an_encoded_batch_decodes_like_its_cells():
    decoder, grid = make().eval(), torch.randn(B, L, D)
    encoded = decoder.encode(grid)
    assert decoder.encode(encoded) is encoded
    first, second = (decoder.rollout(x, T, return_attention=True) for x in (grid, encoded))
    for values, others in zip(first, second):
        torch.testing.assert_close(values, others)
    torch.testing.assert_close(decoder.class_scores(grid), decoder.class_scores(encoded))


def test_known_labels_have_score_1_or_0_and_leave_the_other_scores_alone():
    module = head(decoding=dict(end_bias=1.0)).eval()
    alone = module.predict(FEATS)
    known = [DataSample() for _ in range(B)]
    set_known_labels(known[1], given=[3, 0], excluded=[4])
    known = module.predict(FEATS, known)
    assert known[1].sequence[:2].tolist() == [3, 0]
    assert 4 not in known[1].sequence
    assert known[1].pred_score[[0, 3, 4]].tolist() == [1, 1, 0]
    for b in range(B):
        others = [1, 2] if b == 1 else [*range(C)]
        torch.testing.assert_close(known[b].pred_score[others], alone[b].pred_score[others])


@pytest.mark.parametrize("loss", ["PLA", "prompts"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains_and_predicts(dtype, loss):
    module = head(loss=LOSSES[loss])
    exact = copy.deepcopy(module).loss(FEATS, samples())
    with torch.autocast("cpu", dtype):
        losses = module.loss(FEATS, samples())
        predicted = module.eval().predict(FEATS)
    sum(losses.values()).backward()
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], atol=0.05, rtol=0.05)
    assert all(p.grad.isfinite().all() for p in module.parameters())
    assert predicted[0].pred_score.dtype == torch.float32
