"""The training rollout equals repeated single steps, in values and gradients, for every decoder."""

from typing import NamedTuple

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.rows import select

L, D, C = 4, 9, 6
LENGTHS = {
    "uneven": [3, 1, 4, 2, 4],
    "equal": [3, 3, 3],
    "one step each": [1, 1],
    "one image": [4],
}
uneven_and_even = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
every_mode = pytest.mark.parametrize("mode", ["own", "feed", "choose"])


class Case(NamedTuple):
    """A batch; `bonus` (B, T, C + 1) is added to the logits before the arg max that `choose` takes,
    so that each image and step has a choice of its own."""

    grid: Tensor
    lengths: list[int]
    feed: Tensor | None
    bonus: Tensor | None
    weights: Tensor

    def choose(self, t, logits, images):
        assert not logits.requires_grad
        return (logits + self.bonus[images, t]).argmax(1)


def make_case(lengths, mode, dtype):
    """A random batch, and the weights of the logits in a sum whose gradient is compared."""
    shape = (len(lengths), max(lengths))
    counted = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    feed = torch.randint(0, C + 1, shape).masked_fill(~counted, IGNORE)
    feed[0, 0] = IGNORE  # stands for END
    return Case(
        torch.randn(len(lengths), L, D, dtype=dtype, requires_grad=True),
        lengths,
        feed if mode == "feed" else None,
        torch.randn(*shape, C + 1, dtype=dtype) if mode == "choose" else None,
        torch.randn(*shape, C + 1, dtype=dtype) * counted[:, :, None],
    )


def packed(decoder, case):
    """Logits and tokens of the training rollout."""
    choose = None if case.bonus is None else case.choose
    logits, tokens, attention = decoder.training_rollout(
        case.grid, case.lengths, feed=case.feed, choose=choose
    )
    assert attention is None
    return logits, tokens


def step_by_step(decoder, case, states=None):
    """Logits and tokens of single steps of single images; 0 and END after an image's last step.

    Args:
        decoder: any decoder.
        case: the batch.
        states: states of the images before the first step; None computes each by itself.
    """
    all_logits, all_tokens = [], []
    for i, length in enumerate(case.lengths):
        row = slice(i, i + 1)
        state = decoder.init_state(case.grid[row]) if states is None else select(states, row)
        token, logits, tokens = torch.tensor([C + 1]), [], []
        for t in range(length):
            step_logits, state, _ = decoder.step(token, state)
            scores = step_logits if case.bonus is None else step_logits + case.bonus[row, t]
            token = scores.argmax(1)
            logits.append(step_logits)
            tokens.append(token)
            if case.feed is not None:
                fed = int(case.feed[i, t])
                token = torch.tensor([C if fed == IGNORE else fed])
        all_logits.append(torch.cat(logits))
        all_tokens.append(torch.cat(tokens))
    return pad_sequence(all_logits, True), pad_sequence(all_tokens, True, padding_value=C)


def gradients(decoder, case, logits):
    """Gradients of the features and of every weight, by name."""
    inputs = dict(decoder.named_parameters(), features=case.grid)
    values = torch.autograd.grad((logits * case.weights).sum(), inputs.values())
    return dict(zip(inputs, values))


def check_equal(decoder, case, found, expected, **tolerance):
    """Compare logits and tokens of the counted steps, and the gradients."""
    counted = torch.arange(max(case.lengths)) < torch.tensor(case.lengths)[:, None]
    torch.testing.assert_close(found[0][counted], expected[0][counted], **tolerance)
    assert torch.equal(found[1][counted], expected[1][counted])
    wanted = gradients(decoder, case, expected[0])
    for key, gradient in gradients(decoder, case, found[0]).items():
        torch.testing.assert_close(gradient, wanted[key], **tolerance, msg=key)


@uneven_and_even
@every_mode
def test_equals_single_steps_of_single_images(make_decoder, mode, lengths):
    decoder, case = make_decoder(C, D).double(), make_case(lengths, mode, torch.float64)
    found, expected = packed(decoder, case), step_by_step(decoder, case)
    check_equal(decoder, case, found, expected, atol=1e-10, rtol=1e-10)


@every_mode
def test_steps_after_an_images_last_have_logits_0_and_the_token_end(make_decoder, name, mode):
    if (name, mode) == ("transformer", "feed"):
        pytest.skip("with known tokens it computes all steps together")
    decoder, case = make_decoder(C, D), make_case(LENGTHS["uneven"], mode, torch.float32)
    for found, expected in zip(packed(decoder, case), step_by_step(decoder, case)):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


# Dropout: both have the same seed, and the batch in the order in which masks are drawn.


def sort_by_length(case):
    """The batch with the longest images first."""
    order = sorted(range(len(case.lengths)), key=lambda i: -case.lengths[i])
    rows = [None if x is None else x[order].detach() for x in (case.grid, *case[2:])]
    rows[0].requires_grad_()
    return Case(rows[0], [case.lengths[i] for i in order], *rows[1:])


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer", "multi-order", "order-free"])
@uneven_and_even
@every_mode
def test_one_mask_of_the_cells_is_drawn_for_the_sorted_batch(make_decoder, mode, lengths):
    """Single steps of single images, from the state of the whole sorted batch."""
    decoder = make_decoder(C, D, dropout=0.5).double()
    case = sort_by_length(make_case(lengths, mode, torch.float64))
    torch.manual_seed(7)
    found = packed(decoder, case)
    torch.manual_seed(7)
    expected = step_by_step(decoder, case, decoder.init_state(case.grid))
    check_equal(decoder, case, found, expected, atol=1e-10, rtol=1e-10)
    torch.manual_seed(8)
    assert not torch.allclose(packed(decoder, case)[0], found[0])


@pytest.mark.parametrize(
    "name, options",
    [
        ("joint embedding", dict(dropout=0.5)),
        ("transformer", dict(dropout=0.2, layer_dropout=0.3)),
    ],
    ids=["joint embedding", "transformer"],
)
@uneven_and_even
@pytest.mark.parametrize("mode", ["own", "choose"])
def test_masks_of_a_step_are_drawn_for_the_images_still_decoded(
    make_decoder, options, mode, lengths
):
    """Single steps of the images that count them, the longest first."""
    decoder = make_decoder(C, D, **options).double()
    case = sort_by_length(make_case(lengths, mode, torch.float64))
    torch.manual_seed(7)
    found = packed(decoder, case)
    torch.manual_seed(7)
    state, token = decoder.init_state(case.grid), torch.full((len(lengths),), C + 1)
    logits, tokens = [], []
    for t in range(max(lengths)):
        rows = slice(sum(length > t for length in lengths))
        step_logits, state, _ = decoder.step(token[rows], select(state, rows))
        token = (step_logits if mode == "own" else step_logits + case.bonus[rows, t]).argmax(1)
        missing = len(lengths) - len(token)
        logits.append(torch.cat([step_logits, step_logits.new_zeros(missing, C + 1)]))
        tokens.append(torch.cat([token, token.new_full((missing,), C)]))
    expected = torch.stack(logits, 1), torch.stack(tokens, 1)
    check_equal(decoder, case, found, expected, atol=1e-10, rtol=1e-10)


def test_the_masks_of_an_unsorted_batch_are_those_of_the_sorted_one(make_decoder, name):
    """A mask belongs to a position in the sorted batch."""
    options = {} if name == "semantic" else dict(dropout=0.5)  # it has no dropout
    decoder, case = make_decoder(C, D, **options), make_case([2, 4, 3], "own", torch.float32)
    torch.manual_seed(7)
    found, _ = packed(decoder, case)
    torch.manual_seed(7)
    expected, _ = packed(decoder, sort_by_length(case))
    torch.testing.assert_close(found, expected[[2, 0, 1]])


@every_mode
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_autocast_is_as_close_to_float32_as_single_steps_are(make_decoder, dtype, mode):
    """All are fed what autocast emitted, so that rounding cannot change the sequence."""
    decoder, case = make_decoder(C, D), make_case(LENGTHS["uneven"], mode, torch.float32)
    with torch.autocast("cpu", dtype):
        logits, tokens = packed(decoder, case)
        scores = logits.detach() if case.bonus is None else logits.detach() + case.bonus
    # Class queries keep their logits in float32, for the attention's softmax is.
    assert logits.dtype == (torch.float32 if decoder.masks_emitted else dtype)
    counted = case.weights.any(2)
    assert torch.equal(tokens[counted], scores[counted].argmax(1))

    fed = case._replace(feed=tokens if case.feed is None else case.feed, bonus=None)
    with torch.autocast("cpu", dtype):
        low, _ = step_by_step(decoder, fed)
    exact, _ = step_by_step(decoder, fed)
    expected = dict(gradients(decoder, fed, exact), logits=exact.detach()[counted])
    errors = []
    for values in (logits, low):
        found = gradients(decoder, fed, values.float())
        found["logits"] = values.detach().float()[counted]
        assert all(value.dtype == torch.float32 for value in found.values())
        errors.append(
            {
                k: float((found[k] - v).norm() / v.norm().clamp(min=1e-3))
                for k, v in expected.items()
            }
        )
    for key, of_steps in errors[1].items():
        assert errors[0][key] < 1.5 * of_steps + 0.002, key
        assert of_steps < 0.1, key


DDP = """
import sys
import torch
import torch.distributed as dist
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn.parallel import DistributedDataParallel
import mmorderless

class Loss(torch.nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, feats, samples):
        return sum(self.head.loss((feats,), samples).values())

rank = int(sys.argv[1])
store = dist.FileStore(sys.argv[2], 2)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
batch = torch.load("batch.pt")
half = slice(2 * rank, 2 * rank + 2)
found = []
for config in batch["heads"]:
    torch.manual_seed(rank)  # DDP gives both the weights of rank 0
    model = DistributedDataParallel(Loss(MODELS.build(config)))
    samples = [DataSample().set_gt_label(labels) for labels in batch["labels"][half]]
    model(batch["feats"][half], samples).backward()
    found.append({n: p.grad for n, p in model.module.head.named_parameters()})
torch.save(found, f"{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(configs, run_two_processes, tmp_path):
    """Every decoder, fed its own arg max and with teacher forcing, on halves of unequal lengths."""
    losses = [
        dict(type="PLALoss", average="world"),
        dict(
            type="FixedOrderLoss",
            order="dictionary",
            classes=[*"fedcba"],
            teacher_forcing=True,
            average="world",
        ),
    ]
    sizes = dict(type="OrderlessRNNHead", num_classes=C, in_channels=D, max_steps=5)
    heads = [
        dict(sizes, decoder=decoder, loss=loss) for decoder in configs.values() for loss in losses
    ]
    labels = [torch.tensor(x, dtype=torch.long) for x in ([0, 3, 4], [], [5], [1, 2])]
    feats = torch.randn(4, D, 2, 3)
    torch.save(dict(heads=heads, feats=feats, labels=labels), tmp_path / "batch.pt")
    run_two_processes(DDP)
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    samples = [DataSample().set_gt_label(x) for x in labels]
    for config, first, second in zip(heads, *both):
        torch.manual_seed(0)
        head = MODELS.build(config)
        sum(head.loss((feats,), samples).values()).backward()
        for key, parameter in head.named_parameters():
            message = f"{key} of {config}"
            assert torch.equal(first[key], second[key]), message
            torch.testing.assert_close(
                first[key], parameter.grad, atol=1e-6, rtol=1e-4, msg=message
            )
