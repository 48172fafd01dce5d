"""MS-CNN + LQP without tags: ResNet-101 with fused stages, label count by regression, COCO 2014.

Paper: C-F1 64.04, O-F1 69.06 (Table 4). Here: not run.
python tools/train.py configs/coco/ms_cnn_lqp_resnet101_coco.py

Source and what is faithful: configs/_base_/methods/lqp.py. Also not as in the reimplementation: the
first convolution is not fused; stages are fused at their end, not before their last block; no fully
connected layer with batch norm and sigmoid follows the pooling; one training instead of several.
"""

_base_ = [
    "../_base_/models/bce_resnet101.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(_delete_=True, type="StageFusionNeck", in_channels=(256, 512, 1024, 2048)),
    head=dict(
        type="DecidedHead",
        decision=dict(type="QuantityDecision", widths=(512, 256), max_count=7, dropout=0.5),
    ),
)
