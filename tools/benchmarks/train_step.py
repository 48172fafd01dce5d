"""A whole training step of `pla_resnet101_coco` and the shares of its parts.

The real `train_step` runs, preprocessing and optimiser included, and notes the moments at which it
passes from one part to the next: when the features are there, when the loss is, around the
alignment, when the gradient of the features is complete (everything before it in the backward pass
is the head's, everything after it the backbone's), and when the optimiser begins. Shares are taken
within each step. The optimiser's part is a row of its own; in proportion to the weights, a fifth
of it is the decoder's. The reference is the same model with the plain decoder and alignment.
"""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.heads.data_samples import true_labels
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy
from mmorderless.runs.machine import Marks

from .batches import random_labels
from .label_counts import label_counts
from .models import build_model, config_of
from .plain_alignment import plain_targets
from .plain_decoder import PlainDecoder
from .report import Row, Target
from .settings import Settings
from .timing import synchronisations

MOST_HEAD, MOST_HEAD_CUDA, MOST_ALIGNMENT = 2, 12, 0.2
SPANS = {
    "whole": [("start", "end")],
    "backbone": [("start", "features"), ("gradient", "optimiser")],
    "head": [("features", "loss"), ("backward", "gradient")],
    "alignment": [("align", "aligned")],
    "optimiser": [("optimiser", "end")],
}
"""From which moment to which each part takes; the alignment is part of the head."""


def run(settings: Settings) -> list[Row]:
    """Measure training steps."""
    cfg, side = config_of(settings)
    cuda = settings.device.type == "cuda"
    batch = settings.batch or (32 if cuda else 8)
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
            "training step, against the same model with the plain reference",
            shape,
            "ms",
            ours["whole"],
            plain["whole"],
        ),
        Row("head of it, forward and backward", shape, "ms", ours["head"], plain["head"]),
        Row("alignment of it", shape, "ms", ours["alignment"], plain["alignment"]),
    ]
    targets = {"head": MOST_HEAD_CUDA if cuda else MOST_HEAD, "alignment": MOST_ALIGNMENT}
    # The optimiser's work on the decoder's parameters is the head's, too.
    own = steps.share_of_parameters
    ours["head"] = [
        head + own * optimiser for head, optimiser in zip(ours["head"], ours["optimiser"])
    ]
    ours["optimiser"] = [(1 - own) * optimiser for optimiser in ours["optimiser"]]
    names = {"head": "head, its update included", "optimiser": "update of the backbone"}
    for part in ("backbone", "head", "alignment", "optimiser"):
        share = [100 * time / whole for time, whole in zip(ours[part], ours["whole"])]
        target = Target(targets[part], "value") if part in targets else None
        what = f"share of the step: {names.get(part, part)}"
        rows.append(Row(what, shape, "%", share, target=target))
    if cuda:
        waits = [float(synchronisations(call)) for call in calls.values()]
        rows.append(Row("device synchronisations", shape, "per step", waits[:1], waits[1:]))
    return rows


class TrainingSteps:
    """Training steps of a config's model on random images.

    Args:
        cfg: a config with an `OrderlessRNNHead`.
        side: of the images, in pixels.
        batch: images of a step.
        settings: device and type.
    """

    def __init__(self, cfg: Any, side: int, batch: int, settings: Settings) -> None:
        torch.manual_seed(0)
        self.settings = settings
        self.model = build_model(cfg, settings).train()
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        own, all_ = (
            sum(parameter.numel() for parameter in module.parameters())
            for module in (self.model.head, self.model)
        )
        self.share_of_parameters = own / all_  # of the head
        counts = label_counts(batch)
        self.num_steps = max(counts) + 1
        labels = random_labels(counts, cfg.model.head.num_classes)
        self.data = {
            "inputs": list(torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)),
            "data_samples": [DataSample().set_gt_label(label_set) for label_set in labels],
        }
        self._own_loss = self.model.head.loss
        self._own_align = self.model.head.loss_module.align
        self._own_extract = self.model.extract_feat
        self._own_backward = self.optim_wrapper.backward

    def ours(self) -> dict[str, float]:
        """A step as users have it; milliseconds of each part."""
        return self._step(self._own_loss, self._own_align)

    def plain(self) -> dict[str, float]:
        """A step with the plain decoder and the plain alignment."""

        def align(logits: Tensor, labels: Sequence[Tensor]) -> Tensor:
            return plain_targets(logits.detach(), labels, pin_predicted=True)

        return self._step(MethodType(plain_loss, self.model.head), align)

    def _step(self, loss: Callable, align: Callable) -> dict[str, float]:
        """Make a training step with a head's loss and alignment, noting the moments."""
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
            marks.mark("optimiser")

        self.model.extract_feat, self.model.head.loss = extract, marked_loss
        self.model.head.loss_module.align = marked_align
        self.optim_wrapper.backward = backward
        marks.mark("start")
        with self.settings.autocast():
            self.model.train_step(self.data, self.optim_wrapper)
        marks.mark("end")
        return {
            part: sum(marks.between(start, end) for start, end in spans)
            for part, spans in SPANS.items()
        }


def plain_loss(head: Any, feats: Any, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
    """What `OrderlessRNNHead.loss` returns, by the plain decoder; the head's module aligns.

    Args:
        head: an `OrderlessRNNHead`.
        feats: the backbone's features.
        data_samples: B samples with `gt_label`.
    """
    logits, _ = PlainDecoder(head.decoder).rollout(head.pre_logits(feats), head.max_steps)
    tokens = head.loss_module.align(logits, true_labels(list(data_samples)))
    return {"loss": sequence_cross_entropy(logits, tokens)}
