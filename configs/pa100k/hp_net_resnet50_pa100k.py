"""HP-Net's stage 3 of 3, the fusion alone: ResNet-50 with maps of three stages, PA-100K, 224×224.

Paper: F1 82.53, accuracy 72.19 (Table 7, per image). Here: not run.
python tools/train.py configs/pa100k/hp_net_resnet50_pa100k.py --cfg-options load_from=FILE
FILE: work_dirs/hp_net_resnet50_pa100k_streams/best_set_OF1_epoch_N.pth, the best of stage 2.

_base_/methods/hp_net.py has the citation. Faithful: three sources and three targets of attention,
three stages, a frozen network in the last two. Not verified: the loss's weights. Not faithful:
ResNet-50 and light streams in place of BN-Inception and copies of its blocks; all streams are
trained together; no crops from 256×256; the schedule, since the authors' is not published.
"""

_base_ = [
    "../_base_/models/hp_net_resnet50.py",
    "../_base_/datasets/pa100k.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(
    type="LabelSetClassifier",
    freeze_encoder=True,
    head=dict(num_classes=26, stage="fusion"),
)
