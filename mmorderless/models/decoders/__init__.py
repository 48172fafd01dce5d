"""Decoders: from a feature map to tokens, step by step.

A new decoder: subclass `LabelDecoder`, implement `init_state` and `step`, register it in
mmpretrain's MODELS, and import it here; `joint_embedding_rnn.py` is the shortest example.
"""

from mmorderless.models.decoders.attention_rnn import AttentionGRU, AttentionLSTM
from mmorderless.models.decoders.base import LabelDecoder, Rollout
from mmorderless.models.decoders.class_query_rnn import ClassQueryLSTM
from mmorderless.models.decoders.joint_embedding_rnn import JointEmbeddingRNN
from mmorderless.models.decoders.multi_order_rnn import MultiOrderRNN
from mmorderless.models.decoders.order_free_rnn import OrderFreeRNN
from mmorderless.models.decoders.recurrent_annotator import RecurrentAnnotator
from mmorderless.models.decoders.semantic_rnn import SemanticRNN
from mmorderless.models.decoders.transformer import TransformerLabelDecoder

__all__ = [
    "AttentionGRU",
    "AttentionLSTM",
    "ClassQueryLSTM",
    "JointEmbeddingRNN",
    "LabelDecoder",
    "MultiOrderRNN",
    "OrderFreeRNN",
    "RecurrentAnnotator",
    "Rollout",
    "SemanticRNN",
    "TransformerLabelDecoder",
]
