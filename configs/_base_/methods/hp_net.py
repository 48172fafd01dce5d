"""HydraPlus-style attention: maps of attention over the features, fused with the pooled feature.

Xihui Liu, Haiyu Zhao, Maoqing Tian, Lu Sheng, Jing Shao, Shuai Yi, Junjie Yan, Xiaogang Wang:
"HydraPlus-Net: Attentive Deep Features for Pedestrian Analysis", ICCV 2017. HP-Net in Table 7.

Faithful to the authors' prototxt files: 8 maps a source, a 1×1 convolution, batch norm and ReLU
without a softmax; resized to the nearest cell; a dense layer of 512 for each source and target, and
one for all with the main feature; by the authors' word, a weighted BCE. Not verified: that its
weights are DeepMAR's, as here. Not faithful: each source and target have two convolutions here,
where the authors send every attended map through its own copy of the network's remaining blocks
(72 copies in full); any backbone, where theirs is a half-width BN-Inception; the last map is the
only source and target (configs/pa100k/hp_net_resnet50_pa100k.py has three); everything is trained
at once; the mean over all B·C entries.

Published: PA-100K 82.97 precision, 82.09 recall, 82.53 F1, 72.19 accuracy, averages over images.
"""

model = dict(
    neck=None,
    head=dict(_delete_=True, type="HydraHead", loss=dict(type="PriorWeightedBCELoss")),
)
keep = ["head.num_classes", "head.in_channels"]
