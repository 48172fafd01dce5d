"""Heads: between mmpretrain's data samples and the decoder."""

from mmorderless.models.heads.order_free_head import OrderFreeRNNHead
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

__all__ = [
    "OrderFreeRNNHead",
    "OrderlessRNNHead",
]
