"""Stage 2 of 3, encoder and decoder with PLA: VGG16, COCO 2014, 288×288.

Paper: C-F1 68.05, O-F1 73.20 (Table 4). Here: not run.
python tools/train.py configs/coco/pla_vgg16_coco.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_coco/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/swa.py",
]
