"""BCE, VGG16, COCO 2014 without augmentation: Table 2, and the encoder its other rows start from.

Paper: C-F1 63.29, O-F1 68.84 (Table 2). Here: not run (no GPU, no full COCO).
† The paper trains "fewer epochs"; here half of the recipe's.
Hardware: one GPU; memory and time not measured.
python tools/train.py configs/coco/bce_vgg16_coco_ablation.py
"""

_base_ = [
    "../_base_/models/bce_vgg16.py",
    "../_base_/datasets/coco_ablation.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
train_cfg = dict(max_epochs=20)
