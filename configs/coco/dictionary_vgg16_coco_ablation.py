"""Dictionary order, VGG16, COCO 2014, otherwise as pla_vgg16_coco_ablation.py (Tables 1 and 2).

Paper: C-F1 62.52, O-F1 67.74; duplicates 32.90, rigidness 100. Here: not run.
Hardware: one GPU; memory and time not measured.
python tools/train.py configs/coco/dictionary_vgg16_coco_ablation.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_coco_ablation/best_set_OF1_epoch_N.pth, the best BCE encoder.
"""

_base_ = ["pla_vgg16_coco_ablation.py"]
model = dict(head=dict(strategy="dictionary"))
