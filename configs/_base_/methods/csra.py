"""CSRA: every label by itself, from class-specific residual attention over the map.

Ke Zhu, Jianxin Wu: "Residual Attention: A Simple but Effective Method for Multi-Label Recognition",
ICCV 2021.

mmpretrain's `CSRAClsHead`; the backbone must give a map (B, D, h, w), not tokens. Faithful: one
attention head with λ = 0.1 (mmpretrain's setting for VOC 2007), mean binary cross-entropy as in the
authors' code. Not faithful: the config's own schedule and image size.
"""

model = dict(
    neck=None,
    head=dict(
        _delete_=True, type="CSRAClsHead", num_heads=1, lam=0.1, loss=dict(type="MeanBCELoss")
    ),
)
keep = ["head.num_classes", "head.in_channels"]
