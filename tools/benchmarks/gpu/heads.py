"""Training steps of whole models on a GPU, next to the CPU: every kind of head, and AMP."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.training_labels import NeedsTrainingLabels
from mmorderless.models.weights import only_warnings
from mmorderless.runs.config import read_config

from ..batches import random_labels
from ..label_counts import label_counts
from ..models import CONFIGS, build_model
from ..settings import Settings
from .equality import compare, settings_of, switch_dropout_off
from .workers import Conditions

DIGITS = str(CONFIGS / "digits/pla_digits.py")
METHODS = (
    *("pla", "pla_gru", "pla_transformer", "class_queries", "known_sets", "pla_queries"),
    *("ml_decoder", "query2label", "ctran", "srn", "hp_net", "wsddn", "rarl"),
)
HEAD_BOUND = 0.05
"""Largest relative difference of a head's gradient to that of the CPU, in fp32 without TF32.

Two ways to compute convolutions on a CPU, which round differently, gave 0.008 (SRN): a ReLU turns
over.
"""
SCORE_BOUND = 2e-3


@only_warnings()
def heads(conditions: Conditions) -> dict[str, Any]:
    """A training step of each head, and a prediction after it, equal the CPU's."""
    found: dict[str, Any] = {}
    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        for method in METHODS:
            expected, scores = step_and_predict(method, "cpu")
            values, other_scores = step_and_predict(method, conditions.device)
            found[method] = compare(values, expected, HEAD_BOUND, method, floor=1e-3)
            off = float((scores - other_scores).abs().max())
            assert off < SCORE_BOUND, f"{method}: scores of a prediction differ by {off:.2g}"
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    return found


def step_and_predict(method: str, device: str) -> tuple[dict[str, Tensor], Tensor]:
    """Train a method's model for a step without dropout, and predict.

    Returns:
        Loss and gradients by name, and the scores (B, C), all on the CPU.
    """
    torch.manual_seed(0)
    cfg = read_config(DIGITS, {"method": method})
    model = build_model(cfg, Settings(torch.device("cpu"))).train()
    classes = cfg.model.head.num_classes
    labels = random_labels([n % classes for n in label_counts(16)], classes)
    switch_dropout_off(model)
    for module in model.modules():
        if isinstance(module, NeedsTrainingLabels) and module.needs_training_labels:
            module.set_label_sets([str(c) for c in range(classes)], [x.tolist() for x in labels])
    model.to(device)
    images = torch.randint(0, 256, (16, 3, 48, 48), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(label_set) for label_set in labels]
    data = model.data_preprocessor({"inputs": images, "data_samples": samples}, training=True)
    with random_numbers_of_the_cpu():
        loss, _ = model.parse_losses(model(**data, mode="loss"))
    loss.backward()
    parameters = dict(model.named_parameters())
    values = {name: x.grad.cpu() for name, x in parameters.items() if x.grad is not None}
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    model.eval()
    with torch.no_grad():
        predicted = model(data["inputs"], mode="predict")
    scores = torch.stack([sample.pred_score.cpu().float() for sample in predicted])
    return {"loss": loss.detach().cpu(), **values}, scores


@contextmanager
def random_numbers_of_the_cpu() -> Iterator[None]:
    """Draw the noise of `torch.randn_like` on the CPU, where all devices have the same."""
    with patch.object(torch, "randn_like", lambda x: torch.randn(x.shape).to(x)):
        yield


def loss_scaler(conditions: Conditions) -> dict[str, Any]:
    """AMP in fp16 from a scale that overflows: updates are skipped, then the loss falls."""
    torch.manual_seed(0)
    cfg = read_config(DIGITS)
    model = build_model(cfg, settings_of(conditions)).train()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type="AmpOptimWrapper",
            dtype="float16",
            loss_scale=dict(init_scale=2.0**44, growth_interval=50),
            optimizer=dict(type="Adam", lr=1e-3, fused=True),
        ),
    )
    labels = random_labels([n % 10 for n in label_counts(32)], 10)
    samples = [DataSample().set_gt_label(label_set) for label_set in labels]
    images = torch.randint(0, 256, (32, 3, 48, 48), dtype=torch.uint8)
    losses, skipped, steps = [], 0, 90
    for _ in range(steps):
        scale = wrapper.loss_scaler.get_scale()
        logs = model.train_step({"inputs": images, "data_samples": samples}, wrapper)
        skipped += wrapper.loss_scaler.get_scale() < scale
        losses.append(float(logs["loss"].detach()))
    made = int(next(iter(wrapper.optimizer.state.values()))["step"])
    assert all(x.isfinite().all() for x in model.parameters()), "weights are not finite"
    assert skipped > 5, f"only {skipped} updates were skipped"
    assert made == steps - skipped, f"{made} of {steps} updates, and {skipped} skipped"
    assert losses[-1] < 0.95 * losses[0], f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    return {"skipped updates": skipped, "first loss": losses[0], "last loss": losses[-1]}
