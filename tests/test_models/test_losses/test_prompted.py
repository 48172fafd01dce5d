"""Prompted training: what is given, what remains, and the loss of the remaining steps."""

from collections import Counter

import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.labels.checks import check_labels
from mmorderless.models.decoders.attention_rnn import AttentionLSTM
from mmorderless.models.decoders.transformer import TransformerLabelDecoder
from mmorderless.models.losses.aligned import FixedOrderLoss, MLALoss, PLALoss
from mmorderless.models.losses.prompted import draw_prompts

C, L, D = 6, 4, 8
LABELS = [torch.tensor(x, dtype=torch.long) for x in ([0, 3, 4], [], [5], [1, 2, 3, 5])]
LOSSES = {
    "PLA": lambda **options: PLALoss(**options),
    "MLA": lambda **options: MLALoss(**options),
    "frequent-first": lambda **options: FixedOrderLoss(
        "frequent_first", [*"abcdef"], [6, 5, 4, 3, 2, 1], **options
    ),
}


def draw(labels, share, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return draw_prompts(check_labels(labels, C), share, generator)


def decoder_and_grid(kind=AttentionLSTM):
    torch.manual_seed(0)
    options = dict(hidden_size=16, embed_size=4, attention_size=8, dropout=0.0)
    if kind is TransformerLabelDecoder:
        options["layer_dropout"] = 0.0
    return kind(C, D, **options), torch.randn(len(LABELS), L, D)


def test_given_and_remaining_labels_are_the_images_own():
    for seed in range(20):
        prompts = draw(LABELS, 0.5, seed)
        for tokens, k, rest, labels in zip(*prompts, LABELS):
            n = len(labels)
            assert sorted(tokens[:n].tolist()) == labels.tolist()
            assert (tokens[n:] == C).all()
            assert rest.tolist() == tokens[k:n].tolist()
            assert 0 <= k <= n


def test_a_share_of_the_images_is_prompted_with_any_number_of_labels():
    batch = [torch.tensor([1, 2, 4])] * 6000 + [torch.tensor([], dtype=torch.long)]
    prompts = draw(batch, 0.25)
    assert prompts.num_given[-1] == 0
    numbers = Counter(prompts.num_given[:-1].tolist())
    assert numbers[0] / 6000 == pytest.approx(0.75, abs=0.03)  # 5 sigma
    for k in (1, 2, 3):
        assert numbers[k] / 6000 == pytest.approx(0.25 / 3, abs=0.018)
    orders = Counter(map(tuple, prompts.tokens[:-1, :3].tolist()))
    assert len(orders) == 6
    assert all(number / 6000 == pytest.approx(1 / 6, abs=0.025) for number in orders.values())
    assert (draw(batch, 1.0).num_given[:-1] > 0).all()


@pytest.mark.parametrize("kind", [AttentionLSTM, TransformerLabelDecoder])
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_that_of_the_steps_after_the_given_labels(name, kind):
    decoder, grid = decoder_and_grid(kind)
    loss = LOSSES[name](prompt=0.7)
    loss.reseed(3, 0, 0)
    found = loss.forward_train(decoder, grid, LABELS, 6)["loss"]
    loss.reseed(3, 0, 0)
    prompts = draw_prompts(check_labels(LABELS, C), 0.7, loss.generator_on(torch.device("cpu")))
    assert prompts.num_given.sum() > 0
    rows = []
    for b, (tokens, k, _) in enumerate(zip(*prompts)):
        state, token = decoder.init_state(grid[b : b + 1]), torch.tensor([C + 1])
        steps = []
        for t in range(len(LABELS[b]) + 1):
            logits, state, _ = decoder.step(token, state)
            token = tokens[t : t + 1] if t < k else logits.argmax(1)
            steps.append(logits)
        rows.append(torch.cat(steps)[k:])
    logits = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    expected = LOSSES[name]()(logits, prompts.remaining)
    torch.testing.assert_close(found, expected)
    parameters = [p for p in decoder.parameters() if p.requires_grad]
    for ours, theirs in zip(*(torch.autograd.grad(x, parameters) for x in (found, expected))):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_without_prompts_nothing_changes(name, monkeypatch):
    decoder, grid = decoder_and_grid()
    lengths = [len(labels) + 1 for labels in LABELS]
    plain, loss = LOSSES[name](), LOSSES[name](prompt=0.0)
    expected = plain(decoder.training_rollout(grid, lengths).logits, LABELS)
    monkeypatch.setattr(loss, "generator_on", None)  # draws nothing
    assert torch.equal(loss.forward_train(decoder, grid, LABELS, 6)["loss"], expected)


def test_seeds_repeat_the_draws():
    decoder, grid = decoder_and_grid()
    loss, values = PLALoss(prompt=0.5), []
    for key in [(0, 0, 0, 5), (0, 0, 0, 6), (0, 1, 0, 5), (0, 0, 0, 5)]:
        loss.reseed(*key)
        values.append(loss.forward_train(decoder, grid, LABELS, 6)["loss"].item())
    assert values[0] == values[3]
    assert len(set(values)) > 1


def test_a_batch_without_labels_has_no_prompt():
    decoder, grid = decoder_and_grid()
    none = [torch.tensor([], dtype=torch.long)] * len(LABELS)
    prompted, plain = (
        PLALoss(prompt=share).forward_train(decoder, grid, none, 6)["loss"] for share in (1.0, 0.0)
    )
    torch.testing.assert_close(prompted, plain)


def test_a_prompted_decoder_completes_a_prefix_that_is_not_its_own():
    """The rest of a set follows whichever of its labels comes first."""
    torch.manual_seed(0)
    labels = [torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5])]
    grid = torch.randn(2, L, D)
    found = {}
    for share in (0.0, 0.5):
        decoder, _ = decoder_and_grid()
        loss = PLALoss(prompt=share)
        loss.reseed(0, 0, 0)
        optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
        for _ in range(300):
            value = loss.forward_train(decoder, grid, labels, 6)["loss"]
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        right = 0
        for first in range(3):
            prefix = torch.stack([x[first] for x in labels])

            def choose(t, logits, images, prefix=prefix):
                return prefix[images] if t == 0 else logits.argmax(1)

            tokens = decoder.rollout(grid, 4, choose=choose).tokens
            right += sum(sorted(row) == [*x.tolist(), C] for row, x in zip(tokens.tolist(), labels))
        found[share] = right
    assert found[0.5] == 6
    assert found[0.0] < 6


def test_errors_are_one_line():
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"share of the images, 0 to 1, got {wrong}"):
            PLALoss(prompt=wrong)
    with pytest.raises(ValueError, match=r"prompt=0\.5 .* teacher_forcing=True .* leave") as error:
        FixedOrderLoss("random", teacher_forcing=True, prompt=0.5)
    assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match="prompt"):
        MODELS.build(dict(type="OCDLoss", prompt=0.5))  # it samples its prefixes
    decoder, grid = decoder_and_grid()
    with pytest.raises(ValueError, match=r"label set of image 0 .* outside 0 … 5"):
        PLALoss(prompt=0.5).forward_train(decoder, grid[:1], [torch.tensor([C])], 6)
