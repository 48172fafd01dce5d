"""Stage 1 of 3, the encoder with BCE: EfficientNet-Lite0, your photos, 128×128.

Paper: no number. Here: C-F1 47.74, O-F1 68.16, time 42 min (3 of 40 epochs).
python tools/train.py configs/photos/bce_lite0_photos.py
README.md has options for your photos, and the earlier settings that the numbers were measured with.
"""

_base_ = [
    "../_base_/models/bce_lite0.py",
    "../_base_/datasets/photos.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
