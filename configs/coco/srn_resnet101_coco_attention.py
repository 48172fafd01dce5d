"""SRN's stage 2 of 4, the attention and confidence maps alone: ResNet-101, COCO 2014, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/coco/srn_resnet101_coco_attention.py --cfg-options load_from=FILE
FILE: work_dirs/bce_resnet101_coco_224/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = ["srn_resnet101_coco.py"]
model = dict(type="LabelSetClassifier", freeze_encoder=True, head=dict(stage="attention"))
