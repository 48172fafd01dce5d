"""ACfs, activation maps that agree between views: ResNet-101, COCO 2014, 288×288 and 256×256.

Paper: C-F1 72.20, O-F1 76.30 (Table 4). Here: not run.
python tools/train.py configs/coco/acfs_resnet101_coco.py

_base_/methods/acfs.py has the citation. Faithful to the authors' code: views and sizes, the weights
of the losses, no other augmentation, batches of 24 images, and the schedule. Not faithful: the
tensor is resized instead of the picture. The authors report the checkpoint of the best mAP, which
is a choice on the test set; the last one is a fair one.
"""

_base_ = [
    "../_base_/models/bce_resnet101.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/acfs.py",
    "../_base_/default_runtime.py",
]
model = dict(
    type="ConsistentClassifier",
    scale=256 / 288,
    neck=None,
    head=dict(
        type="AttentionConsistencyHead",
        flip_weight=0.6,
        scale_weight=0.8,
        loss=dict(_delete_=True, type="PriorWeightedBCELoss"),
    ),
)
train_pipeline = _base_.test_pipeline
train_dataloader = dict(batch_size=24, dataset=dict(pipeline=train_pipeline))
