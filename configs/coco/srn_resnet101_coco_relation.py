"""SRN's stage 3 of 4, the relations of labels alone: ResNet-101, COCO 2014, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/coco/srn_resnet101_coco_relation.py --cfg-options load_from=FILE
FILE: work_dirs/srn_resnet101_coco_attention/best_set_OF1_epoch_N.pth, the best of stage 2.
"""

_base_ = ["srn_resnet101_coco.py"]
model = dict(type="LabelSetClassifier", freeze_encoder=True, head=dict(stage="relation"))
