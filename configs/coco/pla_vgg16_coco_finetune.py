"""Stage 3 of 3, the decoder alone with PLA: VGG16, COCO 2014, 288×288.

Paper: C-F1 68.05, O-F1 73.20 (Table 4). Here: not run.
python tools/train.py configs/coco/pla_vgg16_coco_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_vgg16_coco/epoch_30.pth, the averaged weights of stage 2.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(type="LabelSetClassifier", freeze_encoder=True)
