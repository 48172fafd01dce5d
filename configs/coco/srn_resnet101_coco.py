"""SRN's stage 4 of 4, everything: ResNet-101 with the maps of two stages, COCO 2014, 224×224.

Paper: C-F1 71.20, O-F1 75.80 (Zhu et al. 2017). Here: not run.
python tools/train.py configs/coco/srn_resnet101_coco.py --cfg-options load_from=FILE
FILE: work_dirs/srn_resnet101_coco_relation/best_set_OF1_epoch_N.pth, the best of stage 3.

_base_/methods/srn.py has the citation. Faithful: two maps, four stages, and three losses in the
last. Not faithful: augmentation is that of the other configs; the authors crop at the corners and
the center. Not verified: the schedule.
"""

_base_ = [
    "../_base_/models/srn_resnet101.py",
    "../_base_/datasets/coco_224.py",
    "../_base_/schedules/srn.py",
    "../_base_/default_runtime.py",
]
train_dataloader = dict(batch_size=96)
