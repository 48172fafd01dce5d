"""Stage 1 of 3, the BCE encoder: VGG16, COCO 2014, 288×288.

Paper: gives no number for this stage. Here: not run (no GPU, no full COCO).
Hardware: one GPU; memory and time not measured. All stages by one command: README.md.
python tools/train.py configs/coco/bce_vgg16_coco.py
"""

_base_ = [
    "../_base_/models/bce_vgg16.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
