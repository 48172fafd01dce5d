"""Every decoder, small and without dropout."""

from collections.abc import Callable

import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.models.decoders.base import LabelDecoder

SIZES = dict(hidden_size=16, embed_size=8)
ATTENDING = dict(SIZES, attention_size=12, dropout=0.0)
DECODERS = {
    "lstm": dict(ATTENDING, type="AttentionLSTM"),
    "lstm, no attention": dict(ATTENDING, type="AttentionLSTM", attention_size=None),
    "gru": dict(ATTENDING, type="AttentionGRU"),
    "gru, no attention": dict(ATTENDING, type="AttentionGRU", attention_size=None),
    "transformer": dict(
        ATTENDING,
        type="TransformerLabelDecoder",
        num_heads=2,
        feedforward_size=24,
        layer_dropout=0.0,
    ),
    "joint embedding": dict(SIZES, type="JointEmbeddingRNN", dropout=0.0),
    "annotator": dict(SIZES, type="RecurrentAnnotator", dropout=0.0),
    "semantic": dict(SIZES, type="SemanticRNN"),
    "multi-order": dict(ATTENDING, type="MultiOrderRNN"),
    "class queries": dict(
        SIZES, type="ClassQueryLSTM", dropout=0.0, class_hidden_size=16, query_size=8
    ),
    "order-free": dict(type="OrderFreeRNN", hidden_size=16, attention_size=12, dropout=0.0),
}


@pytest.fixture
def configs() -> dict[str, dict]:
    """Config of every decoder by its name in the tests."""
    return DECODERS


@pytest.fixture(params=DECODERS)
def name(request: pytest.FixtureRequest) -> str:
    """Name of each decoder in turn; a test that concerns some of them parametrizes it."""
    return request.param


@pytest.fixture
def make_decoder(name: str) -> Callable[..., LabelDecoder]:
    """Build the decoder, always with the same weights."""

    def make(num_classes: int, in_channels: int, /, **options) -> LabelDecoder:
        torch.manual_seed(1)
        sizes = dict(num_classes=num_classes, in_channels=in_channels)
        return MODELS.build({**DECODERS[name], **sizes, **options})

    return make
