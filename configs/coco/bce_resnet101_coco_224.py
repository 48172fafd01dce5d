"""SRN's stage 1 of 4, the classifier alone with BCE: ResNet-101, COCO 2014, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/coco/bce_resnet101_coco_224.py
"""

_base_ = [
    "../_base_/models/bce_resnet101.py",
    "../_base_/datasets/coco_224.py",
    "../_base_/schedules/srn.py",
    "../_base_/default_runtime.py",
]
train_dataloader = dict(batch_size=96)
