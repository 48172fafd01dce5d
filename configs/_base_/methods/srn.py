"""SRN: a linear classifier, and label relations read off attention maps by convolutions.

Feng Zhu, Hongsheng Li, Wanli Ouyang, Nenghai Yu, Xiaogang Wang: "Learning Spatial Regularization
with Image-level Supervisions for Multi-label Image Classification", CVPR 2017.

Faithful: the two branches, whose logits are averaged, and a loss each for the classifier, the
attention and the relations, as in the authors' code. Not faithful: the last map in place of
ResNet's third stage (configs/coco/srn_resnet101_coco.py has that), averaged or interpolated to 6×6
cells, where the paper has 14×14; everything is trained at once, where the paper trains in four
stages, and by the config's own schedule; the authors' code has further convolutions before the
attention and a second one for the confidence maps. Not verified, as in public notes and
reimplementations: the layers and widths of all parts, the sigmoid and the softmax of the maps, and
the equal shares of the two branches.

Published, ResNet-101 at 224×224: COCO mAP 77.1, C-P 81.6, C-R 65.4, C-F1 71.2, O-P 82.7, O-R 69.9,
O-F1 75.8; WIDER Attribute C-F1 75.9, O-F1 81.3. This C-F1 is the mean over the classes of F1; the
harmonic mean of C-P and C-R is 72.6 on COCO. Each of the three losses is the mean over the B·C
entries, with weight 1.
"""

model = dict(
    neck=None,
    head=dict(_delete_=True, type="SRNHead", map_size=(6, 6), loss=dict(type="MeanBCELoss")),
)
keep = ["head.num_classes", "head.in_channels"]
