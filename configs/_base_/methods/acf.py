"""ACf: ACfs with the mirrored view alone, at half its cost.

Hao Guo, Kang Zheng, Xiaochuan Fan, Hongkai Yu, Song Wang: "Visual Attention Consistency Under Image
Transforms for Multi-Label Image Classification", CVPR 2019.

Faithful and not: as `acfs.py`, without the smaller views. The name is not verified.
"""

_base_ = ["acfs.py"]
model = dict(scale=None)
