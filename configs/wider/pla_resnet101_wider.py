"""Stage 2 of 3, encoder and decoder with PLA: ResNet-101, WIDER Attribute, 224×224.

Paper: C-F1 78.67, O-F1 83.13 (Table 6). Here: not run.
python tools/train.py configs/wider/pla_resnet101_wider.py --cfg-options load_from=FILE
FILE: work_dirs/bce_resnet101_wider/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = [
    "../_base_/models/orderless_resnet101.py",
    "../_base_/datasets/wider_attribute.py",
    "../_base_/schedules/swa.py",
]
model = dict(head=dict(num_classes=14, max_steps=15))
