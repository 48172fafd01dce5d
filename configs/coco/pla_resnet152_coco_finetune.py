"""Stage 3 of 3, the decoder alone with PLA: ResNet-152, COCO 2014, 224×224.

Paper: C-F1 72.36, O-F1 75.38 (Table 4). Here: not run.
python tools/train.py configs/coco/pla_resnet152_coco_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_resnet152_coco/epoch_30.pth, the averaged weights of stage 2.
"""

_base_ = [
    "../_base_/models/orderless_resnet152.py",
    "../_base_/datasets/coco_224.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(type="LabelSetClassifier", freeze_encoder=True)
