"""What a GPU computes with decoders and alignment, next to the CPU.

Training rollouts are fed tokens: a near tie of two logits would change all that follows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmorderless.alignment.targets import min_loss_targets, predicted_label_targets
from mmorderless.models.decoders.graphed import GraphedPasses
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import decode

from ..decoder import QUICK, DecoderBatch, Sizes
from ..label_counts import label_counts
from ..settings import Settings
from .workers import Conditions

BOUNDS = {"fp32": 5e-3, "bf16": 0.1, "fp16": 0.1}
"""Largest relative difference of logits and gradients; fp32 may be TF32 on a GPU."""
LOSS_SCALE = 2.0**12


def alignment(conditions: Conditions) -> dict[str, Any]:
    """Targets of MLA and PLA equal the CPU's, and so do the errors of invalid logits."""
    generator = torch.Generator().manual_seed(0)

    def draw(*values: Any) -> Any:
        return values[torch.randint(len(values), (), generator=generator)]

    cases = errors = 0
    for _ in range(20 if conditions.quick else 200):
        images, classes, steps = draw(1, 2, 17), draw(1, 2, 30), draw(1, 2, 5, 9)
        logits = torch.randn(images, steps, classes + 1, generator=generator) * draw(0.1, 1, 30)
        logits = logits.to(draw(torch.float32, torch.bfloat16, torch.float16))
        if draw(True, False):  # ties: the arg max takes the first
            logits = (2 * logits).round() / 2
        if draw(*[False] * 9, True):
            logits[draw(0, -1), draw(0, -1), draw(0, -1)] = draw(float("nan"), float("inf"))
        most = min(classes, steps - 1)
        counts = torch.randint(most + 1, (images,), generator=generator).tolist()
        labels: Any = [torch.randperm(classes, generator=generator)[:n] for n in counts]
        if draw(True, False):
            labels = torch.stack([torch.zeros(classes).scatter_(0, x, 1) for x in labels])
        for align in (min_loss_targets, predicted_label_targets):
            found = []
            for where in ("cpu", conditions.device):
                for home in ("cpu", conditions.device):
                    is_list = isinstance(labels, list)
                    given = [x.to(home) for x in labels] if is_list else labels.to(home)
                    try:
                        found.append(align(logits.to(where), given).tolist())
                    except ValueError as error:
                        found.append(str(error))
            assert found.count(found[0]) == len(found), f"{align.__name__}: {found}"
            cases, errors = cases + 1, errors + isinstance(found[0], str)
    return {"equal targets": cases - errors, "equal error messages": errors}


def gradients(conditions: Conditions) -> dict[str, Any]:
    """Logits and gradients of a training rollout equal those of float64 on the CPU.

    The CPU runs the plain decoder; tokens are fed. In bf16 and fp16 some gradients are far off in
    any order of the sums: a difference may be twice that of the plain decoder on the GPU.
    """
    sizes, counts = sizes_of(conditions)
    reference = DecoderBatch(sizes, counts, Settings(torch.device("cpu")), dropout=0)
    reference.decoder.double()
    reference.features = reference.features.double()
    expected = trained(reference.for_training(), reference.train_plain, feed=True)
    found: dict[str, Any] = {}
    for dtype, bound in BOUNDS.items():
        batch = DecoderBatch(sizes, counts, settings_of(conditions, dtype), dropout=0)
        batch.loss_scale = LOSS_SCALE
        values = trained(batch.for_training(), batch.train_ours, feed=True)
        plain = trained(batch, batch.train_plain, feed=True)
        found[dtype] = compare(values, expected, bound, dtype, plain)
    return found


def graphed(conditions: Conditions) -> dict[str, Any]:
    """Training rollouts as CUDA graphs equal those without, and again after the weights changed.

    Fed tokens, the Transformer's `training_rollout` would not use its graphs.
    """
    sizes, counts = sizes_of(conditions)
    found: dict[str, Any] = {}
    for decoder in ("AttentionLSTM", "AttentionGRU", "TransformerLabelDecoder"):
        batches = {}
        for dtype in ("fp32", "bf16"):
            settings = settings_of(conditions, dtype)
            batch = DecoderBatch(sizes, counts, settings, dropout=0, decoder=decoder)
            switch_dropout_off(batch.decoder)
            batches[dtype] = batch.for_training()
        graphs = {dtype: GraphedPasses() for dtype in batches}
        for _ in range(2):
            values = {}
            for dtype, batch in batches.items():
                batch.decoder.graphs = None
                values[dtype] = trained(batch, batch.train_ours, feed=True)
                batch.decoder.graphs = graphs[dtype]
                found[f"{decoder}, {dtype}"] = compare(
                    trained(batch, batch.train_at_fixed_shape, feed=True),
                    values["fp32"],
                    BOUNDS[dtype],
                    f"{decoder}, {dtype}",
                    values[dtype],
                )
                for parameter in batch.decoder.parameters():
                    parameter.data.mul_(1.1)
    check_dropout(conditions)
    return found


def check_dropout(conditions: Conditions) -> None:
    """Check that the dropout of a CUDA graph follows the seed.

    Raises:
        AssertionError: it does not.
    """
    batch = DecoderBatch(*sizes_of(conditions), settings_of(conditions)).for_training()
    batch.decoder.graphs = GraphedPasses()
    logits = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        logits.append(batch.train_at_fixed_shape())
    assert not torch.equal(logits[0], logits[1]), "a graph drops the same with another seed"
    assert torch.equal(logits[0], logits[2]), "a graph drops something else with the same seed"


@torch.no_grad()
def prediction(conditions: Conditions) -> dict[str, Any]:
    """Emitted tokens equal the CPU's up to END, but for one image in ten (near ties)."""
    sizes, counts = sizes_of(conditions)
    options: dict[str, dict[str, Any]] = {
        "greedy": {},
        "constrained": dict(no_repeat=True, max_labels=5, end_bias=0.1),
        "beam search": dict(beam_width=4, length_penalty=0.5),
    }
    found = {}
    for name, decoding in options.items():
        emitted = []
        for device in ("cpu", conditions.device):
            batch = DecoderBatch(sizes, counts, Settings(torch.device(device))).for_prediction()
            grid = batch.features.transpose(1, 2)
            rollout, _ = decode(batch.decoder, grid, sizes.max_steps, Decoding(**decoding))
            end = batch.decoder.vocabulary.end
            tokens = [[*row, end] for row in rollout.tokens.tolist()]
            emitted.append([row[: row.index(end)] for row in tokens])
        equal = sum(x == y for x, y in zip(*emitted))
        assert equal >= 0.9 * len(counts), f"{name}: only {equal} of {len(counts)} images are equal"
        found[name] = f"{equal} of {len(counts)} images"
    return found


def settings_of(conditions: Conditions, dtype: str = "fp32") -> Settings:
    """Return the settings of benchmarks on the device."""
    return Settings(torch.device(conditions.device), dtype, quick=conditions.quick)


def sizes_of(conditions: Conditions) -> tuple[Sizes, list[int]]:
    """Return the sizes of the decoder, and the label counts n_i."""
    sizes = replace(QUICK, batch=4) if conditions.quick else Sizes()
    return sizes, label_counts(sizes.batch)


def trained(batch: DecoderBatch, train: Any, feed: bool) -> dict[str, Tensor]:
    """Train once; return the logits of the counted steps and the gradients by name, on the CPU.

    Args:
        batch: the decoder's.
        train: `batch.train_ours` or `batch.train_plain`.
        feed: whether the target tokens are fed, instead of the emitted ones.
    """
    counted = batch.tokens >= 0
    tokens = torch.where(counted, batch.tokens, batch.decoder.vocabulary.end)
    logits = train(tokens if feed else None)
    values = {"logits": logits[counted], **batch.gradients()}
    return {name: value.cpu() for name, value in values.items()}


def switch_dropout_off(model: nn.Module) -> None:
    """Set every probability of dropout to 0: masks differ between devices."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0


def compare(
    values: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    bound: float,
    what: str,
    alike: Mapping[str, Tensor] | None = None,
    floor: float = 0.0,
) -> float:
    """Return the largest relative difference ‖x − y‖ / ‖y‖ of tensors with equal names.

    Args:
        values: tensors x by name.
        expected: tensors y by name.
        bound: of the difference.
        what: named in errors.
        alike: tensors computed in the same type; twice their difference is allowed, too.
        floor: share of the largest ‖y‖ below which a norm is taken for it.

    Raises:
        AssertionError: names differ, a difference is above the bound, or something is not finite.
    """
    assert values.keys() == expected.keys(), f"{what}: {set(values) ^ set(expected)} has a gradient"
    norms = {name: float(y.double().norm()) for name, y in expected.items()}
    least = max(floor * max(norms.values()), 1e-30)

    def off(x: Mapping[str, Tensor], name: str) -> float:
        return float((x[name].double() - expected[name].double()).norm()) / max(norms[name], least)

    for name in expected:
        allowed = max(bound, 0 if alike is None else 2 * off(alike, name))
        difference = off(values, name)
        assert difference <= allowed, (
            f"{what}: {name} differs by {difference:.2g} (at most {allowed:.2g})"
        )
    return max(off(values, name) for name in expected)
