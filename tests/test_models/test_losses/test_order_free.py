import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.losses.order_free import OrderFreeLoss

C, D = 6, 8
SETS = ([0, 3, 4], [], [5], [1, 2])
FEATS = (torch.randn(len(SETS), D, 2, 3, generator=torch.Generator().manual_seed(0)),)
SIZES = dict(hidden_size=16, attention_size=5, dropout=0.0)


def make(**options):
    torch.manual_seed(0)
    head = dict(
        type="OrderlessRNNHead",
        num_classes=C,
        in_channels=D,
        max_steps=7,
        decoder=dict(type="OrderFreeRNN", **SIZES),
        loss=dict(type=OrderFreeLoss),
        decoding=dict(path_threshold=0.5, beam_width=3, no_repeat=True),
    )
    return MODELS.build({**head, **options})


def samples(*sets):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in sets]


def train(head, steps=150):
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(steps):
        losses = head.train().loss(FEATS, samples(*SETS))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return head


def test_loss_equals_a_loop_over_images_and_steps():
    """Every step of every image has the full label set as its target, emitted labels included."""
    head = make(loss=dict(type="OrderFreeLoss", loss_weight=2.0))
    losses = head.loss(FEATS, samples(*SETS))
    grid = head.pre_logits(FEATS)
    terms = []
    for image, label_set in enumerate(SETS):
        truth = torch.tensor([float(c in label_set) for c in range(C)])
        candidates = list(range(C))
        state, token = head.decoder.init_state(grid[image : image + 1]), torch.tensor([C + 1])
        for _ in range(3):  # the longest set
            logits, state, _ = head.decoder.step(token, state)
            terms.append(F.binary_cross_entropy(logits[0, :C].sigmoid(), truth))
            token = torch.tensor([max(candidates, key=lambda c: float(logits[0, c].detach()))])
            candidates.remove(int(token))
    expected = 2 * torch.stack(terms).mean()
    torch.testing.assert_close(losses["loss"], expected)
    inputs = list(head.parameters())
    found, wanted = (
        torch.autograd.grad(value, inputs, allow_unused=True)
        for value in (losses["loss"], expected)
    )
    for gradient, reference in zip(found, wanted):
        torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-4)


def test_steps_go_up_to_the_longest_set_seen_in_training():
    head, steps = make(), []
    rollout = head.decoder.training_rollout

    def watched(grid, lengths, **options):
        steps.append(lengths)
        return rollout(grid, lengths, **options)

    head.decoder.training_rollout = watched
    head.loss(FEATS, samples([0, 1], [], [2], []))
    head.loss(FEATS, samples(*SETS))
    head.loss(FEATS, samples([], [], [], []))
    head.eval().loss(FEATS, samples(range(C), [], [], []))  # validation changes nothing
    head.train().loss(FEATS, samples([0], [], [], []))
    assert steps == [[n] * 4 for n in (2, 3, 3, 6, 3)]
    resumed = make()
    resumed.load_state_dict(head.state_dict())
    assert resumed.loss_module.longest == 3


def _longest(rank, folder):
    torch.set_num_threads(1)  # a forked child must not wake its parent's thread pool
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    head = make()
    head.loss(FEATS, samples([], [0], [1], [2]) if rank else samples([0, 1, 2], [], [], []))
    torch.save(head.loss_module.longest, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_agree_on_the_longest_set(tmp_path):
    torch.multiprocessing.start_processes(_longest, (str(tmp_path),), 2, start_method="fork")
    assert [int(torch.load(tmp_path / f"{rank}.pt")) for rank in range(2)] == [3, 3]


def test_learns_a_tiny_batch_without_any_order():
    head = train(make())
    # Unused parameters would need find_unused_parameters in DDP.
    assert all(p.grad is not None for p in head.parameters())
    predicted = head.eval().predict(FEATS)
    assert [sorted(s.pred_label.tolist()) for s in predicted] == list(SETS)


@pytest.mark.parametrize("width", [1, 3])
def test_no_label_is_repeated(width):
    decoding = dict(path_threshold=1e-9, beam_width=width, no_repeat=True)
    for sample in make(decoding=decoding).eval().predict(FEATS):
        assert sorted(sample.sequence.tolist()) == list(range(C))


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
    head = make()
    with pytest.raises(ValueError, match=r"image 2 .* outside 0 … 5"):
        head.loss(FEATS, samples([0], [], [6], []))
    broken = FEATS[0].clone()
    broken[1] = float("nan")
    with pytest.raises(ValueError, match="logits of image 1 of the batch are not finite"):
        head.loss((broken,), samples([0], [1], [2], [3]))
