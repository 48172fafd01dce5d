"""Stage 2 of 3, encoder and decoder with PLA: ResNet-152, COCO 2014, 224×224.

Paper: C-F1 72.36, O-F1 75.38 (Table 4). Here: not run.
python tools/train.py configs/coco/pla_resnet152_coco.py --cfg-options load_from=FILE
FILE: work_dirs/bce_resnet152_coco/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = [
    "../_base_/models/orderless_resnet152.py",
    "../_base_/datasets/coco_224.py",
    "../_base_/schedules/swa.py",
]
