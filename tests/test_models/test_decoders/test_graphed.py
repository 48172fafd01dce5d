"""Rollouts of a fixed shape equal the training rollout, also with a stand-in for CUDA graphs."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders import graphed

L, D, C = 4, 9, 6
LENGTHS = [3, 1, 5, 2, 5]


class EagerGraph:
    """Stands in for a captured graph: a replay computes from the leaves into the same memory."""

    made = 0

    def __init__(self, run, leaves, pool):
        EagerGraph.made += 1
        self.run, self.leaves, self.pool = run, leaves, pool
        self.sources = [x for x in leaves if x.requires_grad]
        self.forward = SimpleNamespace(replay=self.replay_forward)
        self.backward = SimpleNamespace(replay=self.replay_backward)
        self.output = run(*leaves).detach()
        self.output_gradient = torch.empty_like(self.output)
        self.gradients = [torch.empty_like(x) if x.requires_grad else None for x in leaves]

    def replay_forward(self):
        with torch.enable_grad():
            self.result = self.run(*self.leaves)
        self.output.copy_(self.result.detach())

    def replay_backward(self):
        found = torch.autograd.grad(self.result, self.sources, self.output_gradient)
        kept = [gradient for gradient in self.gradients if gradient is not None]
        for memory, gradient in zip(kept, found):
            memory.copy_(gradient)


@pytest.fixture
def eager_graphs(monkeypatch):
    monkeypatch.setattr(graphed, "_Graph", EagerGraph)
    monkeypatch.setattr(EagerGraph, "made", 0)


def inputs(mode="own", lengths=LENGTHS):
    """Cells, and the tokens to feed back, one column longer than needed."""
    feed = torch.randint(0, C + 1, (len(lengths), max(lengths) + 1))
    feed[0, 0] = IGNORE  # stands for END
    return torch.randn(len(lengths), L, D, requires_grad=True), feed if mode == "feed" else None


def gradients(decoder, grid, logits, weights):
    sources = dict(decoder.named_parameters(), grid=grid)
    values = torch.autograd.grad((logits * weights).sum(), sources.values(), allow_unused=True)
    return dict(zip(sources, values))


def check_equal(decoder, found, expected, grid, lengths=LENGTHS):
    counted = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    assert found.attention is None
    assert (found.logits[~counted] == 0).all()
    assert (found.tokens[~counted] == C).all()
    torch.testing.assert_close(found.logits[counted], expected.logits[counted])
    assert torch.equal(found.tokens[counted], expected.tokens[counted])
    weights = torch.randn_like(expected.logits) * counted[:, :, None]
    wanted = gradients(decoder, grid, expected.logits, weights)
    for key, gradient in gradients(decoder, grid, found.logits, weights).items():
        torch.testing.assert_close(gradient, wanted[key], atol=1e-5, rtol=1e-5, msg=key)


@pytest.mark.parametrize("mode", ["own", "feed"])
@pytest.mark.parametrize("longest", [1, 4, 5, 9], ids="T={}".format)
def test_the_fixed_shape_equals_the_training_rollout(make_decoder, mode, longest):
    decoder = make_decoder(C, D)
    lengths = [1, min(3, longest), longest, longest, min(2, longest)]
    grid, feed = inputs(mode, lengths)
    found = decoder.fixed_shape_rollout(grid, lengths, feed)
    check_equal(decoder, found, decoder.training_rollout(grid, lengths, feed), grid, lengths)


@pytest.mark.usefixtures("eager_graphs")
@pytest.mark.parametrize("mode", ["own", "feed"])
def test_replays_equal_the_training_rollout(make_decoder, mode):
    """With other cells and other weights each time; lengths 3 and 4 share a graph."""
    decoder, plain = make_decoder(C, D, graphed=True), make_decoder(C, D)
    for longest in (5, 4, 5, 3):
        lengths = [min(length, longest) for length in LENGTHS]
        with torch.no_grad():
            for parameter, other in zip(decoder.parameters(), plain.parameters()):
                other.copy_(parameter.mul_(1.1))
        grid, feed = inputs(mode, lengths)
        found = decoder.fixed_shape_rollout(grid, lengths, feed)
        (found.logits.sum() * 2).backward()
        plain_grid = grid.detach().clone().requires_grad_()
        expected = plain.training_rollout(plain_grid, lengths, feed)
        counted = torch.arange(longest) < torch.tensor(lengths)[:, None]
        torch.testing.assert_close(found.logits[counted], expected.logits[counted])
        (expected.logits[counted].sum() * 2).backward()
        torch.testing.assert_close(grid.grad, plain_grid.grad, atol=1e-5, rtol=1e-5)
        # The weights' gradients are accumulated.
        for (key, parameter), other in zip(decoder.named_parameters(), plain.parameters()):
            torch.testing.assert_close(parameter.grad, other.grad, atol=1e-4, rtol=1e-4, msg=key)
    assert EagerGraph.made == 2


@pytest.mark.usefixtures("eager_graphs")
@pytest.mark.parametrize("name", ["lstm"], indirect=True)
def test_a_frozen_encoder_and_frozen_weights_have_graphs_of_their_own(make_decoder):
    decoder = make_decoder(C, D, graphed=True)
    grid = inputs()[0].detach()
    decoder.embedding.requires_grad_(False)
    decoder.fixed_shape_rollout(grid, LENGTHS).logits.sum().backward()
    assert decoder.embedding.weight.grad is None
    assert grid.grad is None
    assert decoder.classifier.weight.grad is not None
    decoder.embedding.requires_grad_(True)
    decoder.fixed_shape_rollout(grid, LENGTHS).logits.sum().backward()
    assert decoder.embedding.weight.grad is not None
    assert EagerGraph.made == 2


@pytest.mark.usefixtures("eager_graphs")
@pytest.mark.parametrize("name", ["lstm"], indirect=True)
def test_autocast_holds_within_a_graph(make_decoder):
    decoder = make_decoder(C, D, graphed=True)
    grid, _ = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        logits = decoder.fixed_shape_rollout(grid, LENGTHS).logits
    assert logits.dtype == torch.bfloat16
    assert decoder.fixed_shape_rollout(grid, LENGTHS).logits.dtype == torch.float32


@pytest.mark.usefixtures("eager_graphs")
@pytest.mark.parametrize("name", ["lstm"], indirect=True)
def test_two_forward_passes_before_a_backward_pass_are_refused(make_decoder):
    decoder = make_decoder(C, D, graphed=True)
    grid, _ = inputs()
    first, second = (decoder.fixed_shape_rollout(grid, LENGTHS).logits for _ in range(2))
    second.sum().backward()
    with pytest.raises(ValueError, match=r"before its backward pass.*decoder\.graphed") as error:
        first.sum().backward()
    assert "\n" not in str(error.value)


def test_without_cuda_training_is_refused_and_prediction_is_not(make_decoder):
    decoder, plain = make_decoder(C, D, graphed=True), make_decoder(C, D)
    grid, _ = inputs()
    with pytest.raises(ValueError, match=r"needs a CUDA device.*cpu.*decoder\.graphed") as error:
        decoder.training_rollout(grid, LENGTHS)
    assert "\n" not in str(error.value)
    with torch.no_grad():
        expected = plain.training_rollout(grid, LENGTHS).logits
        assert decoder.training_rollout(grid, LENGTHS).logits.shape == expected.shape
    decoder.eval(), plain.eval()
    torch.testing.assert_close(
        decoder.training_rollout(grid, LENGTHS).logits,
        plain.training_rollout(grid, LENGTHS).logits,
    )


def test_the_smaller_batch_at_an_epochs_end_is_not_graphed():
    class OnCuda(list):
        device = torch.device("cuda")

    passes, decoder = graphed.GraphedPasses(), torch.nn.Linear(1, 1)
    sizes = [3, 8, 8, 5, 8]
    served = [passes.serves(decoder, OnCuda(range(size))) for size in sizes]
    assert served == [True, True, True, False, True]
    assert not passes.serves(decoder.eval(), OnCuda(range(8)))


@pytest.mark.parametrize("name", ["lstm"], indirect=True)
def test_chosen_tokens_are_not_graphed(make_decoder):
    decoder = make_decoder(C, D, graphed=True)
    grid, _ = inputs()
    found = decoder.training_rollout(grid, LENGTHS, choose=lambda t, x, images: x.argmax(1))
    torch.testing.assert_close(found, make_decoder(C, D).training_rollout(grid, LENGTHS))


@pytest.mark.usefixtures("eager_graphs")
@pytest.mark.parametrize("name", ["lstm"], indirect=True)
def test_copies_start_without_graphs_and_checkpoints_have_none(make_decoder):
    decoder = make_decoder(C, D, graphed=True)
    grid, _ = inputs()
    decoder.fixed_shape_rollout(grid, LENGTHS)
    assert list(decoder.state_dict()) == list(make_decoder(C, D).state_dict())
    for twin in (copy.deepcopy(decoder), pickle.loads(pickle.dumps(decoder))):
        twin.fixed_shape_rollout(grid, LENGTHS)
    assert EagerGraph.made == 3
