"""Stage 2 of 3, PLA, encoder and decoder: VGG16, COCO 2014, 288×288.

Paper: C-F1 68.05, O-F1 73.20 (Table 4). Here: not run (no GPU, no full COCO).
Hardware: one GPU; memory and time not measured.
python tools/train.py configs/coco/pla_vgg16_coco.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_coco/best_set_OF1_epoch_N.pth, the best BCE encoder.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/swa.py",
]
