"""Stage 3 of 3, the decoder alone with PLA: ResNet-101, WIDER Attribute, 224×224.

Paper: C-F1 78.67, O-F1 83.13 (Table 6). Here: not run.
python tools/train.py configs/wider/pla_resnet101_wider_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_resnet101_wider/epoch_30.pth, the averaged weights of stage 2.
"""

_base_ = [
    "../_base_/models/orderless_resnet101.py",
    "../_base_/datasets/wider_attribute.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(
    type="LabelSetClassifier",
    freeze_encoder=True,
    head=dict(num_classes=14, max_steps=15),
)
