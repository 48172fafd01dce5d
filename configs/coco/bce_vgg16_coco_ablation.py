"""BCE, VGG16, COCO 2014 without augmentation: a row of Table 2, and the encoder of the other rows.

Paper: C-F1 63.29, O-F1 68.84 (Table 2). Here: not run.
python tools/train.py configs/coco/bce_vgg16_coco_ablation.py
† The paper trains for "fewer epochs" than in its recipe; 20 are chosen here, half of the recipe's.
"""

_base_ = [
    "../_base_/models/bce_vgg16.py",
    "../_base_/datasets/coco_ablation.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
train_cfg = dict(max_epochs=20)
