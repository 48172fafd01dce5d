"""A linear multi-label head whose label sets follow from a learned decision."""

from typing import Any

import torch
from mmpretrain.models.heads import MultiLabelLinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.heads.data_samples import multi_hot_labels
from mmorderless.models.heads.decisions import LabelDecision


@MODELS.register_module()
class DecidedHead(MultiLabelLinearClsHead):
    """A linear head and a `LabelDecision`, which turns its logits into label sets.

    Predictions carry `pred_label`, decided by the rule, in the order of the classes, and
    `pred_score`, the decision's scores. `thr` is None where the rule is no threshold on the scores.

    Args:
        num_classes: C.
        in_channels: channels D of the pooled features.
        decision: config of a `LabelDecision` without C and D.
        loss: config of the loss of the logits.
        detach: whether the decision's losses train the decision alone, and not the features and the
            logits that it sees; so one training replaces two, of the ranker and then of the
            decision.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        decision: dict[str, Any],
        loss: dict[str, Any],
        detach: bool = True,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            loss=loss,
            init_cfg=dict(type="Normal", std=0.01, override=dict(name="fc")),
        )
        sizes = dict(num_classes=num_classes, in_channels=in_channels)
        self.decision: LabelDecision = MODELS.build({**decision, **sizes})
        self.thr = self.decision.threshold
        self.detach = detach

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return the loss of the logits, `loss`, and those of the decision."""
        features = self.pre_logits(feats)
        logits = self.fc(features)
        labels = multi_hot_labels(data_samples, self.num_classes)
        loss = self.loss_module(logits, labels, avg_factor=len(logits), **kwargs)
        if self.detach:
            features, logits = features.detach(), logits.detach()
        return dict(loss=loss, **self.decision.auxiliary_loss(features, logits, labels))

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch."""
        features = self.pre_logits(feats)
        scores, chosen = self.decision(features, self.fc(features))
        if self.thr is not None:  # may be set at any time
            chosen = scores >= self.thr
        if data_samples is None:
            data_samples = [DataSample() for _ in scores]
        for sample, score, is_label in zip(data_samples, scores, chosen):
            sample.set_pred_score(score).set_pred_label(torch.where(is_label)[0])
        return data_samples
