"""The head of all sequence models, and heads of multi-label classifiers."""

from mmorderless.models.heads.attention_consistency_head import AttentionConsistencyHead
from mmorderless.models.heads.chain_head import ChainHead
from mmorderless.models.heads.class_query_head import ClassQueryHead
from mmorderless.models.heads.ctran_head import CTranHead
from mmorderless.models.heads.decided_head import DecidedHead
from mmorderless.models.heads.decisions import (
    CountDecision,
    MassDecision,
    QuantityDecision,
    ThresholdDecision,
)
from mmorderless.models.heads.glimpse_head import GlimpseHead
from mmorderless.models.heads.hydra_head import HydraHead
from mmorderless.models.heads.known_sets_head import KnownSetsHead
from mmorderless.models.heads.ml_decoder_head import MLDecoderHead
from mmorderless.models.heads.mlp_head import MultiLabelMLPHead
from mmorderless.models.heads.orderless_head import OrderlessRNNHead
from mmorderless.models.heads.query2label_head import Query2LabelHead
from mmorderless.models.heads.srn_head import SRNHead
from mmorderless.models.heads.wsddn_head import WindowClsHead, WSDDNHead

__all__ = [
    "AttentionConsistencyHead",
    "CTranHead",
    "ChainHead",
    "ClassQueryHead",
    "CountDecision",
    "DecidedHead",
    "GlimpseHead",
    "HydraHead",
    "KnownSetsHead",
    "MLDecoderHead",
    "MassDecision",
    "MultiLabelMLPHead",
    "OrderlessRNNHead",
    "QuantityDecision",
    "Query2LabelHead",
    "SRNHead",
    "ThresholdDecision",
    "WSDDNHead",
    "WindowClsHead",
]
