"""The decoder, the losses and the head."""

from .attention_gru import AttentionGRU
from .backbones import EfficientNetLite0, FeaturePassThrough
from .bce_loss import MeanBCELoss
from .classifier import LabelSetClassifier
from .decoder import AttentionLSTM, DecoderState
from .decoding import Beams, Decoding, beam_search
from .head import OrderlessRNNHead
from .joint_embedding_rnn import JointEmbeddingRNN
from .label_decoder import LabelDecoder, Rollout
from .losses import FixedOrderLoss, MLALoss, PLALoss, sequence_cross_entropy
from .model_hub import load_from_model_hub
from .optimal_completion import OCDLoss, completion_targets
from .order_free_head import OrderFreeRNNHead
from .order_search import OrderSearchLoss
from .semantic_rnn import SemanticRNN
from .strided_cnn import StridedCNN
from .transformer_decoder import TransformerLabelDecoder

__all__ = [
    "AttentionGRU",
    "AttentionLSTM",
    "Beams",
    "DecoderState",
    "Decoding",
    "EfficientNetLite0",
    "FeaturePassThrough",
    "FixedOrderLoss",
    "JointEmbeddingRNN",
    "LabelDecoder",
    "LabelSetClassifier",
    "MLALoss",
    "MeanBCELoss",
    "OCDLoss",
    "OrderFreeRNNHead",
    "OrderSearchLoss",
    "OrderlessRNNHead",
    "PLALoss",
    "Rollout",
    "SemanticRNN",
    "StridedCNN",
    "TransformerLabelDecoder",
    "beam_search",
    "completion_targets",
    "load_from_model_hub",
    "sequence_cross_entropy",
]
