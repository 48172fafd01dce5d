"""Classifier that learns from the labels and from a trained model."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.models.classifier import LabelSetClassifier
from mmorderless.models.heads.wsddn_head import WindowClsHead, WindowHead, WSDDNHead
from mmorderless.models.weights import load_all_weights, trained_classes, weights_of


def as_teachers_input(inputs: Tensor, ours: nn.Module, theirs: nn.Module) -> Tensor:
    """Turn images from one data preprocessor's normalization and channel order into another's."""
    if hasattr(ours, "mean"):
        inputs = inputs * ours.std + ours.mean
    if ours.to_rgb != theirs.to_rgb:
        inputs = inputs.flip(1)
    return (inputs - theirs.mean) / theirs.std if hasattr(theirs, "mean") else inputs


@MODELS.register_module()
class DistillingClassifier(LabelSetClassifier):
    """A student that learns the labels and a teacher's scores, or the teacher's window features.

    Yongcheng Liu, Lu Sheng, Jing Shao, Junjie Yan, Shiming Xiang, Chunhong Pan: "Multi-Label Image
    Classification via Knowledge Distillation from Weakly-Supervised Detection", ACM MM 2018. With
    the student's logits z and the teacher's scores p::

        loss = the head's loss,  loss_distill = weight · mean BCE(a ∘ z, p)

    where a is a learned scale for each class, 1/temperature at first. With `features` the student
    learns the teacher's features of the windows r instead, without labels::

        loss_features = weight · ½ · mean over r of ‖teacher(r) − student(r)‖²

    Faithful to the authors' code: both terms of scores, a, no labels for features, nothing flows
    into the teacher. Not verified: ½ and the mean of `loss_features`; their text may weight windows
    by objectness there. Here: BCE is a mean over classes; features are compared before the last
    dropout; any trained model of this package may teach. Its score is `pred_score`, sharpened as
    σ(logit(p)/sharpen), or a `WSDDNHead`'s φ from sharpened softmaxes.

    The teacher is loaded when training begins. It is no part of the student: checkpoints, parameter
    counts and optimizers do not see it, and prediction does not need it.

    Args:
        teacher: `config` and `checkpoint` of a trained model, paths. A config that a run wrote into
            its work dir also holds the run's `method`.
        temperature: 5 in the authors' code.
        sharpen: 0.5 in the authors' code; 1 takes the scores as they are.
        weight: weight of the distillation term.
        features: whether the windows' features are distilled, both heads being window heads.
        student_scale: side of the student's images in training as a share of the teacher's.
        **kwargs: arguments of `LabelSetClassifier`.

    Raises:
        ValueError: the teacher is not given by config and checkpoint, an option is out of its
            range, or the student's head does not give one logit a class, or no window features
            where these are distilled.
    """

    def __init__(
        self,
        teacher: dict[str, str],
        temperature: float = 5.0,
        sharpen: float = 1.0,
        weight: float = 1.0,
        features: bool = False,
        student_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if set(teacher) != {"config", "checkpoint"}:
            raise ValueError(
                "model.teacher needs config and checkpoint, the paths of a trained model, got "
                f"{', '.join(teacher) or 'nothing'}"
            )
        if not min(temperature, sharpen) > 0:
            raise ValueError(
                f"temperature and sharpen must be above 0, got {temperature} and {sharpen}"
            )
        if student_scale is not None and not 0 < student_scale <= 1:
            raise ValueError(
                f"student_scale must be above 0 and at most 1, or None, got {student_scale}"
            )
        wanted = WindowClsHead if features else MultiLabelClsHead
        if not isinstance(self.head, wanted):
            raise ValueError(
                f"the student's head must be a {wanted.__name__}, got {type(self.head).__name__}; "
                "a head with one logit a class learns scores (method=bce), a WindowClsHead features"
            )
        self.teacher_files = dict(teacher)
        self.sharpen = sharpen
        self.weight = weight
        self.features = features
        self.student_scale = student_scale
        self.num_classes = kwargs["head"]["num_classes"]  # not every head keeps it
        scale = torch.full((self.num_classes,), 1 / temperature)
        self.logit_scale = nn.Parameter(scale, requires_grad=not features)
        if features:  # this stage does not train the classifier
            self.head.fc.requires_grad_(False)

    @property
    def teacher(self) -> ImageClassifier:
        """The trained model in evaluation mode."""
        return self._loaded_teacher[0]

    @property
    def teacher_classes(self) -> Sequence[str] | None:
        """The class names that the teacher was trained with, None if its checkpoint has none."""
        return self._loaded_teacher[1]

    # A cached property, unlike an attribute, does not make the teacher a submodule.
    @cached_property
    def _loaded_teacher(self) -> tuple[ImageClassifier, Sequence[str] | None]:
        path, checkpoint = self.teacher_files["config"], self.teacher_files["checkpoint"]
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"there is no config {path} of the teacher; set model.teacher.config"
            )
        cfg = Config.fromfile(path)
        if cfg.get("method") is not None:
            raise ValueError(
                f"{path} has method={cfg.method}, which is not applied to a teacher; give the "
                "config that its training wrote into its work dir"
            )
        model = MODELS.build({"data_preprocessor": cfg.get("data_preprocessor"), **cfg.model})
        saved = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
        load_all_weights(model, weights_of(saved))
        number = cfg.model.head.num_classes
        if number != self.num_classes:
            raise ValueError(
                f"the teacher {path} has {number} classes, the student {self.num_classes}; train "
                "it on the same classes"
            )
        return model.requires_grad_(False).eval(), trained_classes(saved)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch of preprocessed images, shape (B, 3, H, W)."""
        teacher = self.teacher.to(inputs.device)
        images = as_teachers_input(inputs, self.data_preprocessor, teacher.data_preprocessor)
        if self.student_scale is not None:
            size = [round(side * self.student_scale) for side in inputs.shape[-2:]]
            inputs = F.interpolate(inputs, size, mode="bilinear", antialias=True)
        feats = self.extract_feat(inputs)
        with torch.no_grad():
            teacher_feats = teacher.extract_feat(images)
        if self.features:
            return {"loss_features": self.weight * self._feature_loss(teacher_feats, feats)}
        losses = self.head.loss(feats, data_samples)
        soft = F.binary_cross_entropy_with_logits(
            self.head(feats) * self.logit_scale, self._soft_targets(teacher_feats)
        )
        return {**losses, "loss_distill": self.weight * soft}

    @torch.no_grad()
    def _soft_targets(self, teacher_feats: Any) -> Tensor:
        """Return the teacher's scores, shape (B, C)."""
        head = self.teacher.head
        if isinstance(head, WSDDNHead):
            return head.sharpened_scores(teacher_feats, self.sharpen)
        predicted = [sample.pred_score.float() for sample in head.predict(teacher_feats)]
        scores = torch.stack(predicted).to(self.logit_scale.device)
        return torch.sigmoid(torch.logit(scores, 1e-6) / self.sharpen)

    def _feature_loss(self, teacher_feats: Any, feats: Any) -> Tensor:
        """Return half the mean squared distance between the windows' features."""
        if not isinstance(self.teacher.head, WindowHead):
            raise ValueError(
                f"the teacher's head is {type(self.teacher.head).__name__}, which has no features "
                "of windows; train one with method=wsddn, or set features=False"
            )
        with torch.no_grad():
            target = self.teacher.head.regions(teacher_feats)
        features = self.head.regions(feats)
        if features.shape != target.shape:
            raise ValueError(
                f"the teacher's windows have features of shape {tuple(target.shape)}, the "
                f"student's {tuple(features.shape)}; give both heads the same hidden_size"
            )
        return (features - target).square().sum(2).mean() / 2
