"""Properties that every decoder has."""

from collections import Counter

import pytest
import torch
from mmpretrain.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoders.rows import select, weights_of
from mmorderless.models.losses.aligned import MLALoss, PLALoss

B, L, D, C, T = 5, 4, 9, 6, 4


def test_every_registered_decoder_is_tested(configs):
    registered = {
        name
        for name, module in MODELS.module_dict.items()
        if isinstance(module, type) and issubclass(module, LabelDecoder)
    }
    assert registered == {config["type"] for config in configs.values()}


def test_rollout_is_repeated_steps(make_decoder):
    decoder = make_decoder(C, D).eval()
    grid = torch.randn(B, L, D)
    rollout = decoder.rollout(grid, T, return_attention=decoder.attends)
    assert rollout.logits.shape == (B, T, C + 1)
    state, token = decoder.init_state(grid), torch.full((B,), C + 1)
    for t in range(T):
        logits, state, weights = decoder.step(token, state)
        token = logits.argmax(1)
        torch.testing.assert_close(rollout.logits[:, t], logits)
        assert torch.equal(rollout.tokens[:, t], token)
        if decoder.attends:
            assert weights.shape in ((B, L), (B, C, L))
            weights = weights_of(token, weights)
            torch.testing.assert_close(rollout.attention[:, t], weights)
            torch.testing.assert_close(weights.sum(1), torch.ones(B))
        else:
            assert weights is None


def test_the_gradient_reaches_every_parameter_and_every_cell(make_decoder):
    decoder = make_decoder(C, D)
    grid = torch.randn(B, L, D, requires_grad=True)
    decoder.training_rollout(grid, [T] * B).logits.square().sum().backward()
    for parameter_name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    assert (grid.grad.abs().sum(2) > 0).all()


def test_images_of_a_batch_do_not_influence_each_other(make_decoder):
    decoder = make_decoder(C, D).eval()
    grid = torch.randn(B, L, D)
    together = decoder.rollout(grid, T).logits
    alone = torch.cat([decoder.rollout(grid[i : i + 1], T).logits for i in range(B)])
    torch.testing.assert_close(together, alone)


def test_selected_rows_of_a_state_continue_unchanged(make_decoder):
    """Both `select` (images that are still decoded) and `reorder` (rows of the same image)."""
    decoder = make_decoder(C, D).eval()
    grid = torch.randn(2, L, D).repeat_interleave(2, 0)  # two hypotheses per image
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 0, 1])
    _, state, _ = decoder.step(torch.full((4,), C + 1), decoder.init_state(grid))
    _, state, _ = decoder.step(first, state)
    logits, _, _ = decoder.step(second, state)
    rows = torch.tensor([3, 0])
    torch.testing.assert_close(decoder.step(second[rows], select(state, rows))[0], logits[rows])
    rows = torch.tensor([1, 1, 2, 2])
    torch.testing.assert_close(
        decoder.step(second[rows], decoder.reorder(state, rows))[0], logits[rows]
    )


def test_dropout_is_for_training_only(make_decoder, configs, name):
    drops = "dropout" in configs[name]
    decoder = make_decoder(C, D, **({"dropout": 0.5} if drops else {}))
    grid = torch.randn(B, L, D)
    first, second = (decoder.rollout(grid, 1).logits for _ in range(2))
    assert torch.equal(first, second) != drops
    decoder.eval()
    assert torch.equal(decoder.rollout(grid, T).logits, decoder.rollout(grid, T).logits)


def test_autocast_is_close_to_float32(make_decoder):
    decoder = make_decoder(C, D)
    grid = torch.randn(B, L, D)
    tokens = torch.randint(0, C + 1, (B, T))  # rounding cannot change the sequence

    def choose(t, logits, images):
        return tokens[images, t]

    expected = decoder.rollout(grid, T, choose=choose).logits
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder.rollout(grid, T, choose=choose).logits
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.1)


class Casts(TorchDispatchMode):
    """Count the casts of each tensor, also of parts of it.

    Args:
        tensors: by name.
    """

    def __init__(self, tensors):
        super().__init__()
        self.names = {x.untyped_storage().data_ptr(): name for name, x in tensors.items()}
        self.seen = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._to_copy.default:
            self.seen[self.names.get(args[0].untyped_storage().data_ptr())] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("training", [True, False], ids=["training", "prediction"])
def test_autocast_casts_cells_and_weights_once_per_rollout(make_decoder, training):
    decoder = make_decoder(C, D).train(training)
    grid = torch.randn(B, L, D)
    with (
        torch.set_grad_enabled(training),
        torch.autocast("cpu", torch.bfloat16),
        Casts(dict(decoder.named_parameters(), cells=grid)) as casts,
    ):
        decoder.rollout(grid, T)
    del casts.seen[None]  # what a step computes
    assert set(casts.seen.values()) == {1}, casts.seen


@pytest.mark.slow_except("lstm-pla", "joint embedding-mla")
@pytest.mark.parametrize("loss", [PLALoss(), MLALoss()], ids=["pla", "mla"])
def test_memorizes_label_sets_and_stops_after_them(make_decoder, loss, monkeypatch):
    """The losses serve every decoder; images that have ended are no longer decoded."""
    decoder = make_decoder(C, D)
    labels = [torch.randperm(C)[:n].sort().values for n in (0, 0, 1, 1, 1, 2, 3, 3)]
    lengths = [len(label_set) + 1 for label_set in labels]
    grid = torch.randn(8, L, D)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(200):
        value = loss(decoder.training_rollout(grid, lengths).logits, labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert value < 0.05

    decoder.eval()
    whole = decoder.rollout(grid, 6)
    rows = []
    step = decoder.step
    monkeypatch.setattr(
        decoder, "step", lambda token, state: rows.append(len(token)) or step(token, state)
    )
    short = decoder.rollout(grid, 6, until_end=True)
    assert rows == [8, 8, 3, 3]  # after two steps more than half have ended, after four all
    for i, label_set in enumerate(labels):
        n = len(label_set)
        assert sorted(short.tokens[i, :n].tolist()) == label_set.tolist()
        assert short.tokens[i, n] == C
        assert short.tokens[i, : n + 1].tolist() == whole.tokens[i, : n + 1].tolist()
        torch.testing.assert_close(short.logits[i, : n + 1], whole.logits[i, : n + 1])


@pytest.mark.parametrize("size", ["in_channels", "hidden_size", "embed_size"])
def test_sizes_are_positive(make_decoder, configs, name, size):
    if size not in {"in_channels", *configs[name]}:
        return
    with pytest.raises(ValueError, match=f"{size} must be at least 1, got 0"):
        make_decoder(C, D, **{size: 0})
