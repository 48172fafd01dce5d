"""The layers of a rollout's steps have the gradients that autograd gives to `F.linear`."""

import gc

import pytest
import torch
import torch.nn.functional as F

from mmorderless.models.decoders.step_linear import StepLinear

ROWS = (4, 4, 3, 1)


def recur(apply, x, weight, bias):
    """Apply a layer repeatedly, to ever fewer rows; return the sum of squares of all steps."""
    summed = 0
    for rows in ROWS:
        x = torch.tanh(apply(x[:rows], weight, bias))
        summed = summed + x.square().sum()
    return summed


def make(with_bias=True, dtype=torch.float64):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(4, 5), torch.randn(5, 5), torch.randn(5)
    tensors = [x, weight, bias] if with_bias else [x, weight]
    tensors = [tensor.to(dtype).requires_grad_() for tensor in tensors]
    return tensors if with_bias else [*tensors, None]


def gradients(apply, tensors):
    recur(apply, *tensors).backward()
    return [None if tensor is None else tensor.grad for tensor in tensors]


@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_equal_those_of_autograd(with_bias):
    ours = gradients(StepLinear(), make(with_bias))
    expected = gradients(F.linear, make(with_bias))
    torch.testing.assert_close(ours, expected)


def test_each_rollout_adds_its_gradient():
    once, twice = make(), make()
    gradients(F.linear, once)
    for _ in range(2):
        gradients(StepLinear(), twice)
    torch.testing.assert_close(twice[1].grad, 2 * once[1].grad)


def test_a_second_backward_pass_of_the_same_rollout_counts_once():
    x, weight, bias = make()
    loss = recur(StepLinear(), x, weight, bias)
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)  # leaves the weight out
    loss.backward(retain_graph=True)
    expected = gradients(F.linear, make())
    torch.testing.assert_close([x.grad, weight.grad, bias.grad], expected)
    torch.testing.assert_close(first, expected[0])
    loss.backward()
    torch.testing.assert_close(weight.grad, 2 * expected[1])


def test_a_backward_pass_from_an_earlier_step_counts_its_steps_only():
    weights = []
    for apply in (StepLinear(), F.linear):
        x, weight, bias = make()
        early = apply(x, weight, bias).tanh()
        late = apply(early, weight, bias).square().sum()
        late.backward(retain_graph=True)
        weight.grad = None
        early.sum().backward()
        weights.append(weight.grad)
    torch.testing.assert_close(*weights)


def test_a_backward_pass_that_leaves_the_weight_out_does_not_count_later():
    weights = []
    for apply in (StepLinear(), F.linear):
        x, weight, bias = make()
        early = apply(x, weight, bias).tanh()
        late = apply(early, weight, bias).square().sum()
        torch.autograd.grad(late, x, retain_graph=True)
        weights.append(torch.autograd.grad(early.sum(), weight)[0])
    torch.testing.assert_close(*weights)


def test_gradients_of_gradients_are_an_error():
    x, weight, bias = make()
    loss = recur(StepLinear(), x, weight, bias)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("of_weight", [True, False])
def test_a_rollout_is_freed_after_its_backward_pass(of_weight):
    x, weight, bias = make()
    alive = []
    for _ in range(3):
        loss = recur(StepLinear(), x, weight, bias)
        torch.autograd.grad(loss, weight if of_weight else x)
        del loss
        gc.collect()
        alive.append(sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()))
    assert alive[0] == alive[1] == alive[2]


def test_a_compiled_step_uses_the_plain_layer():
    def step(x, weight, bias):
        return StepLinear()(x, weight, bias).tanh().sum()

    ours = make()
    torch.compile(step, backend="aot_eager", fullgraph=True)(*ours).backward()
    expected = make()
    F.linear(*expected).tanh().sum().backward()
    torch.testing.assert_close([t.grad for t in ours], [t.grad for t in expected])


@pytest.mark.parametrize("frozen", [0, 1, 2], ids=["x", "weight", "bias"])
def test_what_is_frozen_gets_no_gradient(frozen):
    ours, expected = make(), make()
    for tensors in (ours, expected):
        tensors[frozen].requires_grad_(False)
    torch.testing.assert_close(gradients(StepLinear(), ours), gradients(F.linear, expected))
    assert ours[frozen].grad is None


def test_bf16_autocast():
    results = []
    for apply in (StepLinear(), F.linear):
        tensors = make(dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            loss = recur(apply, *tensors)
            assert apply(*tensors).dtype == torch.bfloat16
        loss.backward()
        assert all(tensor.grad.dtype == torch.float32 for tensor in tensors)
        results.append([loss.detach(), *(tensor.grad for tensor in tensors)])
    for ours, expected in zip(*results):
        largest = float(expected.abs().max())
        torch.testing.assert_close(ours, expected, rtol=0, atol=0.02 * largest)


def test_nothing_is_collected_without_gradients():
    x, weight, bias = make()
    linear = StepLinear()
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias))
    assert not linear._layers
