"""Use a trained model: images in, labels in the order of emission out."""

from mmorderless.inference.inferencer import OrderlessInferencer

__all__ = [
    "OrderlessInferencer",
]
