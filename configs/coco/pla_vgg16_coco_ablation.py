"""PLA without attention, VGG16, COCO 2014 without augmentation (Tables 1 and 2).

Paper: C-F1 64.34, O-F1 69.66; duplicates 0.04, rigidness 80.25. Here: not run (no GPU, no full
COCO). † The paper trains "fewer epochs"; here half of the recipe's.
Hardware: one GPU; memory and time not measured.
python tools/train.py configs/coco/pla_vgg16_coco_ablation.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_coco_ablation/best_set_OF1_epoch_N.pth, the best BCE encoder.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/coco_ablation.py",
    "../_base_/schedules/swa.py",
]
model = dict(head=dict(attention_size=None))
train_cfg = dict(max_epochs=15)
