"""Figures of single images of a test set, by a trained sequence model.

Letters: n labels of the image, C classes, S emitted labels, h·w cells of the backbone's map.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmpretrain.registry import DATASETS
from torch import Tensor

from ..analysis.image_figures import alignment_figure, attention_figure, ordering_figure
from ..checkpoints import load_all_weights, weights_of
from ..datasets.cropping import CropBox
from ..datasets.loading import LoadImage
from ..errors import error_line
from ..hooks.class_names_match_hook import class_names, compare_names, compare_number
from ..launch import existing_checkpoint
from ..models.head import OrderlessRNNHead
from ..models.losses import FixedOrderLoss, MLALoss, PLALoss, SequenceLoss
from ..models.order_free_head import OrderFreeRNNHead
from ..ordering import count_labels
from .drawing import MIN_SIDE
from .inferencer import build_model

# Transforms after which the cells still divide the whole picture evenly.
WHOLE_FRAME = ("Resize", "PackInputs")


@dataclass(frozen=True)
class DecodedImage:
    """One image as a sequence model decodes it.

    Attributes:
        labels: the image's n labels, ascending, int64, shape (n,).
        logits: of the rollout on the model's own arg max, float32, shape (n + 1, C + 1).
        tokens: what each of these steps emits, shape (n + 1,).
        sequence: the labels of the prediction, repeats included, S class indices.
        probabilities: of each of them at its step.
        attention: weights over the cells at each of these steps, shape (S, h, w); None where the
            model has no such maps.
    """

    labels: Tensor
    logits: Tensor
    tokens: Tensor
    sequence: list[int]
    probabilities: list[float]
    attention: np.ndarray | None


class ImageVisualizer:
    """Draw how a trained model decodes images of its config's test set.

    Args:
        cfg: a config that `launch.read_config` has read.
        checkpoint: path of the weights.
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
            raise ValueError("the config has no test_dataloader, whose images would be drawn")
        init_default_scope(cfg.get("default_scope", "mmpretrain"))
        path = existing_checkpoint(str(checkpoint))
        self.config = cfg
        self.model: Any = build_model(cfg)
        head = getattr(self.model, "head", None)
        if not isinstance(head, OrderlessRNNHead | OrderFreeRNNHead):
            raise ValueError(
                f"the model's head, {type(head).__name__}, emits no sequence, so there is nothing "
                "to draw; give the config of a sequence model (OrderlessRNNHead)"
            )
        saved = CheckpointLoader.load_checkpoint(path, map_location="cpu")
        load_all_weights(self.model, weights_of(saved))
        self.dataset: Any = DATASETS.build(cfg.test_dataloader.dataset)
        names = class_names(self.dataset)
        trained = (saved.get("meta", {}).get("dataset_meta") or {}).get("classes")
        compare_names(trained, names, "test set")
        self.classes = [str(name) for name in names or trained or range(head.num_classes)]
        compare_number(self.model, self.classes, "test set")
        head.return_attention = head.decoder.attends
        try:
            self.model.to(device or get_device())
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"cannot use the device {device}: {error_line(error)}") from error
        self.model.eval()
        self._counts: np.ndarray | None = None

    def figures(self, index: int) -> tuple[dict[str, Figure], list[str]]:
        """Draw one image.

        Args:
            index: the image's place in the test set.

        Returns:
            The figures by name (`alignment`, `attention`, `orderings`), and for each that is left
            out why, one line each.

        Raises:
            ValueError: there is no such image, or it cannot be read.
        """
        if not 0 <= index < len(self.dataset):
            raise ValueError(
                f"there is no image {index}: the test set has the images 0 … "
                f"{len(self.dataset) - 1}"
            )
        item = self.dataset[index]
        decoded = decode(self.model, item)
        figures: dict[str, Figure] = {}
        left_out = []
        if not isinstance(self.model.head, OrderlessRNNHead):
            kind = type(self.model.head).__name__
            left_out.append(f"no alignment and no orderings: {kind} has no END and no order")
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
            picture, reason = seen_picture(self.dataset, index, item["inputs"])
            if picture is None:
                left_out.append(f"no attention: {reason}")
            else:
                figures["attention"] = attention_figure(
                    picture,
                    decoded.attention,
                    [self.classes[label] for label in decoded.sequence],
                    decoded.probabilities,
                    [self.classes[label] for label in decoded.labels.tolist()],
                )
        return figures, left_out

    def training_counts(self) -> np.ndarray:
        """Images of the training set per class, shape (C,), which two of the orders go by.

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


@torch.no_grad()
def decode(model: Any, item: dict[str, Any]) -> DecodedImage:
    """Decode one image: its prediction, and n + 1 steps on its own arg max.

    These are the steps that PLA, MLA and fixed orders look at in training; teacher forcing, order
    search and OCD train on other prefixes.

    Args:
        model: a classifier with a sequence head, in evaluation mode.
        item: `inputs` and `data_samples`, as a dataset gives them.
    """
    head = model.head
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    feats = model.extract_feat(batch["inputs"])
    sample = head.predict(feats)[0]
    labels = item["data_samples"].gt_label.cpu().long().sort().values
    rollout = head.decoder.rollout(head.pre_logits(feats), len(labels) + 1)
    maps = sample.attention.numpy() if "attention" in sample else None
    return DecodedImage(
        labels=labels,
        logits=rollout.logits[0].float().cpu(),
        tokens=rollout.tokens[0].cpu(),
        sequence=sample.sequence.tolist(),
        probabilities=sample.sequence_score.tolist(),
        attention=maps if maps is not None and maps.ndim == 3 else None,
    )


def target_orders(
    logits: Tensor, labels: Tensor, classes: Sequence[str], counts: np.ndarray | None, seed: int
) -> dict[str, Tensor]:
    """Order an image's labels as each strategy would.

    Args:
        logits: shape (n + 1, C + 1).
        labels: class indices, shape (n,).
        classes: class names, C strings.
        counts: images of the training set per class, shape (C,); without them there are no
            frequent-first and rare-first orders.
        seed: of the random order.

    Returns:
        By the strategy's name the class index of each step, shape (n,).
    """
    drawn = FixedOrderLoss("random")
    drawn.reseed(seed, 0, 0)
    losses: dict[str, SequenceLoss] = {}
    if counts is not None:
        losses["frequent-first"] = FixedOrderLoss("frequent_first", classes, counts)
        losses["rare-first"] = FixedOrderLoss("rare_first", classes, counts)
    losses["dictionary"] = FixedOrderLoss("dictionary", classes)
    losses.update({"random": drawn, "MLA": MLALoss(), "PLA": PLALoss()})
    return {
        name: loss.align(logits[None], [labels])[0, : len(labels)] for name, loss in losses.items()
    }


def step_costs(logits: Tensor) -> np.ndarray:
    """Cross-entropy in nats of every token at every step, shape (T, C + 1)."""
    return -logits.double().log_softmax(1).numpy()


def draw_alignment(decoded: DecodedImage, classes: Sequence[str]) -> Figure:
    """The cost matrix of an image with its PLA and MLA assignments.

    Args:
        decoded: of an image with at least one label.
        classes: class names, C strings.
    """
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
    """The order of an image's labels under every strategy, and what it costs.

    Args:
        decoded: of an image with at least one label.
        classes: class names, C strings.
        counts: see `target_orders`.
        seed: of the random order.
    """
    costs = step_costs(decoded.logits)
    orders = target_orders(decoded.logits, decoded.labels, classes, counts, seed)
    return ordering_figure(
        {name: token_names(order.tolist(), classes) for name, order in orders.items()},
        {name: costs[np.arange(len(order)), order].tolist() for name, order in orders.items()},
        float(costs[-1, -1]),
        token_names(decoded.sequence, classes),
    )


def token_names(tokens: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Names of class tokens and of END."""
    names = [*classes, "END"]
    return [names[token] for token in tokens]


def seen_picture(dataset: Any, index: int, inputs: Tensor) -> tuple[np.ndarray | None, str]:
    """The picture that the cells of the map divide evenly.

    That is the photo in the file, or the box that was cut out of it; where the pipeline moves the
    picture in other ways (a centre crop), it is the network's own input. The maps of a feature
    cache have no pipeline: they are of the photo that `img_path` names.

    Args:
        dataset: the test set.
        index: the image's place in it.
        inputs: what the pipeline gave for it.

    Returns:
        uint8 RGB, shape (H, W, 3), its longer side at most a few hundred pixels; or None and why.
    """
    info = dataset.get_data_info(index)
    while hasattr(dataset, "dataset"):  # a part of another one
        dataset = dataset.dataset
    transforms = dataset.pipeline.transforms
    cut = [step for step in transforms if isinstance(step, LoadImageFromFile | CropBox)]
    moved = [
        type(step).__name__
        for step in transforms
        if step not in cut
        and (type(step).__name__ not in WHOLE_FRAME or getattr(step, "keep_ratio", False))
    ]
    if moved:
        if inputs.dtype != torch.uint8 or inputs.shape[0] != 3:
            return None, f"the photo cannot be told from the input after {', '.join(moved)}"
        return np.ascontiguousarray(inputs.numpy()[::-1].transpose(1, 2, 0)), ""
    try:
        results = {**info}
        for step in cut or [LoadImage(min_side=MIN_SIDE)]:
            results = step(results)
    except (ValueError, OSError) as error:
        return None, error_line(error)
    picture = results["img"]
    scale = MIN_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture[..., ::-1]), ""


def find_images(dataset: Any, paths: Sequence[str]) -> list[int]:
    """Find images in a dataset by their files.

    Args:
        dataset: one whose images have an `img_path`.
        paths: of files, as the dataset names them or by the end of that (`0001.jpg`).

    Returns:
        Their places; several for a file that the dataset uses several times (boxes of one photo).

    Raises:
        ValueError: the dataset has no such file, or several of that name.
    """
    known = [str(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))]
    absolute = [os.path.abspath(path) for path in known]
    found = []
    for path in paths:
        wanted = os.path.abspath(path)
        places = [i for i, file in enumerate(absolute) if file == wanted]
        if not places:
            end = os.sep + os.path.normpath(path)
            places = [i for i, file in enumerate(absolute) if file.endswith(end)]
        files = sorted({known[i] for i in places})
        if not files:
            raise ValueError(f"{path} is no image of the test set, which has {known[0]}, say")
        if len(files) > 1:
            raise ValueError(f"{path} may be {', '.join(files[:3])}; give more of the path")
        found += places
    return found
