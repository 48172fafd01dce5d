"""Stage 2 of 3, PLA, encoder and decoder: ResNet-101, COCO 2014, 288×288.

Paper: C-F1 74.17, O-F1 77.14 (Table 4). Here: not run (no GPU, no full COCO).
Hardware: one GPU; memory and time not measured.
python tools/train.py configs/coco/pla_resnet101_coco.py --cfg-options load_from=FILE
FILE: work_dirs/bce_resnet101_coco/best_set_OF1_epoch_N.pth, the best BCE encoder.
"""

_base_ = [
    "../_base_/models/orderless_resnet101.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/swa.py",
]
