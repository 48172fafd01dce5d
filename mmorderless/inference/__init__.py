"""Predict label sets of images with trained models, and draw how they are decoded."""

from mmorderless.inference.inferencer import OrderlessInferencer

__all__ = ["OrderlessInferencer"]
