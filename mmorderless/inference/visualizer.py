"""Draw how a trained sequence model decodes single images of its test set.

Letters: n labels of the image, C classes, S emitted labels, h·w cells of the backbone's map.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from torch import Tensor

from mmorderless.datasets.class_names import class_names, compare_names, compare_number
from mmorderless.errors import error_line
from mmorderless.figures.single_image import alignment_figure, attention_figure, ordering_figure
from mmorderless.inference.decoded_image import (
    DecodedImage,
    background_picture,
    decode_image,
    token_names,
)
from mmorderless.labels.fixed_orders import count_labels
from mmorderless.labels.vocabulary import MASKED
from mmorderless.models.heads.orderless_head import OrderlessRNNHead
from mmorderless.models.losses.aligned import FixedOrderLoss, MLALoss, PLALoss
from mmorderless.models.losses.base import SequenceLoss
from mmorderless.models.weights import trained_classes
from mmorderless.runs.trained_model import load_trained_model


class ImageVisualizer:
    """Draw how a trained model decodes images of its config's test set.

    Args:
        cfg: a config that `read_config` has read.
        checkpoint: path of the checkpoint.
        device: where to run; None takes an accelerator when there is one.

    Attributes:
        dataset: the config's test set.
        classes: class names.

    Raises:
        ValueError: the config has no test set, the head emits no sequence, or weights, classes and
            model do not fit each other.
        FileNotFoundError: the checkpoint or the dataset is missing.
    """

    def __init__(
        self, cfg: Config, checkpoint: str | Path, device: str | torch.device | None = None
    ) -> None:
        if cfg.get("test_dataloader") is None:
            raise ValueError("the config has no test_dataloader, whose images are drawn; add one")
        self.config = cfg
        model, saved = load_trained_model(cfg, checkpoint, device)
        self.model: Any = model
        head = getattr(model, "head", None)
        if not isinstance(head, OrderlessRNNHead):
            raise ValueError(
                f"the model's head, {type(head).__name__}, emits no sequence, so there is nothing "
                "to draw; give the config of a sequence model (OrderlessRNNHead)"
            )
        self.dataset: Any = DATASETS.build(cfg.test_dataloader.dataset)
        names = class_names(self.dataset)
        trained = trained_classes(saved)
        compare_names(trained, names, "test set")
        self.classes = [str(name) for name in names or trained or range(head.num_classes)]
        compare_number(self.model, self.classes, "test set")
        head.return_attention = head.decoder.attends
        self._counts: np.ndarray | None = None

    def figures(self, index: int) -> tuple[dict[str, Figure], list[str]]:
        """Draw one image.

        Returns:
            The figures by name (`alignment`, `attention`, `orderings`), and a line for each figure
            that is left out, with the reason.

        Raises:
            ValueError: there is no such image, or it cannot be read.
        """
        if not 0 <= index < len(self.dataset):
            raise ValueError(
                f"there is no image {index}: the test set has the images 0 … "
                f"{len(self.dataset) - 1}"
            )
        item = self.dataset[index]
        decoded = decode_image(self.model, item)
        figures: dict[str, Figure] = {}
        left_out = []
        if self.model.head.decoding.has_sigmoids:
            left_out.append("no alignment and no orderings: the model has no END and no order")
        elif len(decoded.labels) == 0:
            left_out.append("no alignment and no orderings: the image has no label")
        else:
            figures["alignment"] = draw_alignment(decoded, self.classes)
            counts = None
            try:
                counts = self.training_counts()
            except FileNotFoundError as error:
                left_out.append(f"no frequent-first and no rare-first order: {error_line(error)}")
            figures["orderings"] = draw_orderings(decoded, self.classes, counts, seed=index)
        if decoded.attention is None:
            left_out.append("no attention: the model gives no maps of attention")
        else:
            picture, reason = background_picture(self.dataset, index, item["inputs"])
            if picture is None:
                left_out.append(f"no attention: {reason}")
            else:
                figures["attention"] = attention_figure(
                    picture,
                    decoded.attention,
                    token_names(decoded.sequence, self.classes),
                    decoded.probabilities,
                    token_names(decoded.labels.tolist(), self.classes),
                )
        return figures, left_out

    def training_counts(self) -> np.ndarray:
        """Count the training images of each class, which two of the orders sort by; shape (C,).

        Raises:
            ValueError: the config has no training set, or one of other classes.
            FileNotFoundError: the training set is missing.
        """
        if self._counts is None:
            if self.config.get("train_dataloader") is None:
                raise ValueError(
                    "the config has no train_dataloader, whose labels the frequent-first and "
                    "rare-first orders count; add one"
                )
            dataset: Any = DATASETS.build(self.config.train_dataloader.dataset)
            compare_names(class_names(dataset), self.classes, "test set")
            label_sets = [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))]
            self._counts = count_labels(label_sets, len(self.classes))
        return self._counts


def target_orders(
    logits: Tensor, labels: Tensor, classes: Sequence[str], counts: np.ndarray | None, seed: int
) -> dict[str, Tensor]:
    """Order an image's labels as each strategy would.

    Args:
        logits: shape (n + 1, C + 1).
        labels: class indices, shape (n,).
        classes: class names, C strings.
        counts: training images per class, shape (C,); None leaves out the frequent-first and
            rare-first orders.
        seed: seed of the random order.

    Returns:
        The class index of each step, shape (n,), by strategy.
    """
    random_order = FixedOrderLoss("random")
    random_order.reseed(seed, 0, 0)
    losses: dict[str, SequenceLoss] = {}
    if counts is not None:
        losses["frequent-first"] = FixedOrderLoss("frequent_first", classes, counts)
        losses["rare-first"] = FixedOrderLoss("rare_first", classes, counts)
    losses["dictionary"] = FixedOrderLoss("dictionary", classes)
    losses.update({"random": random_order, "MLA": MLALoss(), "PLA": PLALoss()})
    return {
        name: loss.align(logits[None], [labels])[0, : len(labels)] for name, loss in losses.items()
    }


def step_costs(logits: Tensor) -> np.ndarray:
    """Return the cross-entropy in nats of every token at every step, shape (T, C + 1).

    A token that the decoder has masked costs infinity.
    """
    logits = logits.double()
    return -logits.log_softmax(1).masked_fill(logits == MASKED, -math.inf).numpy()


def draw_alignment(decoded: DecodedImage, classes: Sequence[str]) -> Figure:
    """Draw the cost matrix of an image with its PLA and MLA assignments."""
    labels, logits = decoded.labels, decoded.logits[None]
    n = len(labels)
    # Positions among the labels, which are sorted.
    mla, pla = (
        torch.searchsorted(labels, loss.align(logits, [labels])[0, :n]).numpy()
        for loss in (MLALoss(), PLALoss())
    )
    return alignment_figure(
        step_costs(decoded.logits)[:n, labels.numpy()],
        mla,
        pla,
        token_names(decoded.tokens[:n].tolist(), classes),
        token_names(labels.tolist(), classes),
    )


def draw_orderings(
    decoded: DecodedImage, classes: Sequence[str], counts: np.ndarray | None, seed: int
) -> Figure:
    """Draw the order of an image's labels under every strategy, with its costs."""
    costs = step_costs(decoded.logits)
    orders = target_orders(decoded.logits, decoded.labels, classes, counts, seed)
    return ordering_figure(
        {name: token_names(order.tolist(), classes) for name, order in orders.items()},
        {name: costs[np.arange(len(order)), order].tolist() for name, order in orders.items()},
        float(costs[-1, -1]),
        token_names(decoded.sequence, classes),
    )
