"""The head of all sequence models, and heads of multi-label classifiers."""

from mmorderless.models.heads.chain_head import ChainHead
from mmorderless.models.heads.ctran_head import CTranHead
from mmorderless.models.heads.decided_head import DecidedHead
from mmorderless.models.heads.decisions import (
    CountDecision,
    MassDecision,
    QuantityDecision,
    ThresholdDecision,
)
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

__all__ = [
    "CTranHead",
    "ChainHead",
    "CountDecision",
    "DecidedHead",
    "MassDecision",
    "OrderlessRNNHead",
    "QuantityDecision",
    "ThresholdDecision",
]
