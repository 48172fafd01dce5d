"""The head of all sequence models: between mmpretrain's data samples and a decoder."""

from mmorderless.models.heads.orderless_head import OrderlessRNNHead

__all__ = ["OrderlessRNNHead"]
