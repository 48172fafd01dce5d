"""BCE on the maximum of each channel over the map instead of the average.

A baseline of Zhao-Min Chen, Xiu-Shen Wei, Peng Wang, Yanwen Guo: "Multi-Label Image Recognition
with Graph Convolutional Networks", CVPR 2019; small objects do not vanish in a maximum.

Faithful: the pooling. Not faithful: the config's own schedule and image size. Labels with a
probability of at least 0.5 are predicted. The loss is the mean over all B·C entries.

Published: COCO, ResNet-101, 448×448, mAP 81.9, with the average 77.3 (the authors' repository).
"""

_base_ = ["bce.py"]
model = dict(neck=dict(type="GlobalMaxPooling"))
