"""PLA, ResNet-101, COCO 2014, 288×288, plain Adam.

Paper (Table 4, with its three-stage recipe and averaged weights): C-F1 74.17, O-F1 77.14.
Here: not run (no GPU, no full COCO).
python tools/train.py configs/pla_resnet101_coco.py
From a BCE encoder, as in the paper: --cfg-options load_from=work_dirs/bce_resnet101_coco/FILE.pth
"""

_base_ = [
    "_base_/models/orderless_resnet101.py",
    "_base_/datasets/coco.py",
    "_base_/schedules/adam.py",
    "_base_/default_runtime.py",
]
