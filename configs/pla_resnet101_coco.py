"""PLA, ResNet-101, COCO 2014, 288×288: coco/pla_resnet101_coco.py under a shorter path."""

_base_ = ["coco/pla_resnet101_coco.py"]
