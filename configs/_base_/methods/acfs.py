"""ACfs: every label by itself; class activation maps agree between mirrored and resized views.

Hao Guo, Kang Zheng, Xiaochuan Fan, Hongkai Yu, Song Wang: "Visual Attention Consistency Under Image
Transforms for Multi-Label Image Classification", CVPR 2019.

Faithful: losses (BCE weighted as in `deepmar.py`), views and prediction (one view, threshold 0.5),
see `AttentionConsistencyHead`; the weights 1 and 1 are those for WIDER (COCO: 0.6 and 0.8, as in
configs/coco/acfs_resnet101_coco.py), the small side is 8/9 of the large one, as 256 of 288 on COCO
(WIDER: 192 of 224). Not faithful: the tensor is resized instead of the picture; the config's own
augmentation and schedule. A training step sees four views of each image. It needs images: a feature
cache is refused.

Published (percent; C-F1 is the mean of the classes' F1): COCO, ResNet-101: C-P 77.40, C-R 68.30,
C-F1 72.20, O-P 79.80, O-R 73.10, O-F1 76.30. WIDER, ResNet-101: 81.30, 74.80, 77.60, 84.10, 80.70,
82.40. PA-100K, ResNet-50, per image: precision 88.97, recall 86.26, F1 87.59, accuracy 79.44.
"""

model = dict(
    type="ConsistentClassifier",
    scale=8 / 9,
    neck=None,
    head=dict(
        _delete_=True,
        type="AttentionConsistencyHead",
        flip_weight=1.0,
        scale_weight=1.0,
        loss=dict(type="PriorWeightedBCELoss"),
    ),
)
keep = ["head.num_classes", "head.in_channels"]
