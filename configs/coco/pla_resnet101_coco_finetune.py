"""Stage 3 of 3, the decoder alone with PLA: ResNet-101, COCO 2014, 288×288.

Paper: C-F1 74.17, O-F1 77.14 (Table 4). Here: not run.
python tools/train.py configs/coco/pla_resnet101_coco_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_resnet101_coco/epoch_30.pth, the averaged weights of stage 2.
"""

_base_ = [
    "../_base_/models/orderless_resnet101.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(type="LabelSetClassifier", freeze_encoder=True)
