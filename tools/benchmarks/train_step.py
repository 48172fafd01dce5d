"""A whole training step of `pla_resnet101_coco` and the shares of its parts.

The real `train_step` runs, preprocessing and optimizer included, and marks the moments between its
parts: features computed, loss computed, alignment entered and left, gradient of the features
complete (the backward pass before it belongs to the head, after it to the backbone), and optimizer
started. Shares are computed within each step. The optimizer's time is divided in proportion to the
number of weights. The baseline is the same model with the plain decoder and alignment.
"""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.losses.cross_entropy import sequence_cross_entropy
from mmorderless.runs.machine import Marks

from .batches import random_labels
from .label_counts import label_counts
from .models import build_model, config_of
from .plain_alignment import plain_targets
from .plain_decoder import PlainDecoder
from .report import Row
from .settings import Settings
from .timing import synchronizations

MAX_HEAD, MAX_HEAD_CUDA, MAX_ALIGNMENT = 3.5, 12, 0.2
SPANS = {
    "whole": [("start", "end")],
    "backbone": [("start", "features"), ("gradient", "optimizer")],
    "head": [("features", "loss"), ("backward", "gradient")],
    "alignment": [("align", "aligned")],
    "optimizer": [("optimizer", "end")],
}
"""Moments between which each part runs; the alignment is part of the head."""


def run(settings: Settings) -> list[Row]:
    """Measure training steps."""
    cfg, side = config_of(settings)
    cuda = settings.device.type == "cuda"
    batch = settings.batch or cfg.train_dataloader.batch_size
    steps = TrainingSteps(cfg, side, batch, settings)
    calls = {"ours": steps.ours, "plain": steps.plain}
    for call in calls.values():
        call()
    times: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(settings.repeats):
        for name, call in calls.items():
            times[name].append(call())
    ours = {part: [step[part] for step in times["ours"]] for part in SPANS}
    plain = {part: [step[part] for step in times["plain"]] for part in SPANS}
    shape = {"B": batch, "image": f"{side}×{side}", "T": steps.num_steps}
    rows = [
        Row(
            "training step",
            shape,
            "ms",
            ours["whole"],
            plain["whole"],
        ),
        Row("head of it, forward and backward", shape, "ms", ours["head"], plain["head"]),
        Row("alignment of it", shape, "ms", ours["alignment"], plain["alignment"]),
    ]
    targets = {"head": MAX_HEAD_CUDA if cuda else MAX_HEAD, "alignment": MAX_ALIGNMENT}
    # The head includes the optimizer's work on its own parameters.
    own = steps.share_of_parameters
    ours["head"] = [
        head + own * optimizer for head, optimizer in zip(ours["head"], ours["optimizer"])
    ]
    ours["optimizer"] = [(1 - own) * optimizer for optimizer in ours["optimizer"]]
    names = {"head": "head, its update included", "optimizer": "update of the backbone"}
    for part in ("backbone", "head", "alignment", "optimizer"):
        share = [100 * time / whole for time, whole in zip(ours[part], ours["whole"])]
        what = f"share of the step: {names.get(part, part)}"
        rows.append(Row(what, shape, "%", share, at_most=targets.get(part)))
    if cuda:
        waits = [float(synchronizations(call)) for call in calls.values()]
        rows.append(Row("device synchronizations", shape, "per step", waits[:1], waits[1:]))
    return rows


class Steps:
    """Training steps of a config's model on random images.

    Args:
        cfg: any config of a classifier.
        side: side of the images in pixels.
        batch: images of a step.
        settings: device and type.
    """

    def __init__(self, cfg: Any, side: int, batch: int, settings: Settings) -> None:
        torch.manual_seed(0)
        self.settings = settings
        self.model = build_model(cfg, settings).train()
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        counts = label_counts(batch)
        self.num_steps = max(counts) + 1
        labels = random_labels(counts, cfg.model.head.num_classes)
        images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
        # Like a batch of the training's dataloader.
        images = images.pin_memory() if settings.device.type == "cuda" else images
        self.images, self.labels = images, labels
        # As with `--amp`, autocast ends before the backward pass.
        self.optim_wrapper.optim_context = lambda model: settings.autocast()

    def run(self) -> None:
        """Run a training step with new samples, whose labels the model moves to the device."""
        samples = [DataSample().set_gt_label(label_set) for label_set in self.labels]
        data = {"inputs": self.images, "data_samples": samples}
        self.model.train_step(data, self.optim_wrapper)


class TrainingSteps(Steps):
    """Training steps whose parts are timed.

    Args:
        cfg: a config with an `OrderlessRNNHead`.
        arguments: the further arguments of `Steps`.
    """

    def __init__(self, cfg: Any, *arguments: Any) -> None:
        super().__init__(cfg, *arguments)
        own, all_ = (
            sum(parameter.numel() for parameter in module.parameters())
            for module in (self.model.head, self.model)
        )
        self.share_of_parameters = own / all_  # of the head
        self._own_loss = self.model.head.loss
        self._own_align = self.model.head.loss_module.align
        self._own_extract = self.model.extract_feat
        self._own_backward = self.optim_wrapper.backward

    def ours(self) -> dict[str, float]:
        """Time a step of the package's model, in milliseconds per part."""
        return self._step(self._own_loss, self._own_align)

    def plain(self) -> dict[str, float]:
        """Time a step with the plain decoder and the plain alignment."""

        def align(logits: Tensor, labels: Sequence[Tensor]) -> Tensor:
            return plain_targets(logits.detach(), labels, pin_predicted=True)

        return self._step(MethodType(plain_loss, self.model.head), align)

    def _step(self, loss: Callable, align: Callable) -> dict[str, float]:
        """Run a training step with a loss and an alignment of the head, marking the moments."""
        marks = Marks(self.settings.device)

        def extract(*args: Any, **kwargs: Any) -> Any:
            feats = self._own_extract(*args, **kwargs)
            feats[-1].register_hook(lambda gradient: marks.mark("gradient"))
            marks.mark("features")
            return feats

        def marked_loss(*args: Any) -> Any:
            losses = loss(*args)
            marks.mark("loss")
            return losses

        def marked_align(*args: Any) -> Tensor:
            marks.mark("align")
            tokens = align(*args)
            marks.mark("aligned")
            return tokens

        def backward(*args: Any) -> None:
            marks.mark("backward")
            self._own_backward(*args)
            marks.mark("optimizer")

        self.model.extract_feat, self.model.head.loss = extract, marked_loss
        self.model.head.loss_module.align = marked_align
        self.optim_wrapper.backward = backward
        marks.mark("start")
        self.run()
        marks.mark("end")
        return {
            part: sum(marks.between(start, end) for start, end in spans)
            for part, spans in SPANS.items()
        }


def plain_loss(head: Any, feats: Any, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
    """Compute the loss of `OrderlessRNNHead` with the plain decoder.

    Args:
        head: an `OrderlessRNNHead`, whose loss aligns.
        feats: features of the backbone.
        data_samples: B samples with `gt_label`.
    """
    logits, _ = PlainDecoder(head.decoder).rollout(head.pre_logits(feats), head.max_steps)
    tokens = head.loss_module.align(logits, [sample.gt_label for sample in data_samples])
    return {"loss": sequence_cross_entropy(logits, tokens)}
