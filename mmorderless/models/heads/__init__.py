"""The head of all sequence models, and a multi-label head with a learned decision."""

from mmorderless.models.heads.decided_head import DecidedHead
from mmorderless.models.heads.decisions import (
    CountDecision,
    MassDecision,
    QuantityDecision,
    ThresholdDecision,
)
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

__all__ = [
    "CountDecision",
    "DecidedHead",
    "MassDecision",
    "OrderlessRNNHead",
    "QuantityDecision",
    "ThresholdDecision",
]
