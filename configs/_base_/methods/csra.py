"""CSRA: every label by itself, from class-specific residual attention over the map.

Ke Zhu, Jianxin Wu: "Residual Attention: A Simple but Effective Method for Multi-Label Recognition",
ICCV 2021.

mmpretrain's `CSRAClsHead`; the backbone must give a map (B, D, h, w), not tokens. Faithful: the
head, and mean binary cross-entropy as in the authors' code. Their values differ by dataset:

- VOC 2007: one attention head with λ = 0.1, the values below.
- COCO: 6 heads and λ = 0.5 (their README; the paper's table has 4 heads):
  --cfg-options method=csra model.head.num_heads=6 model.head.lam=0.5
- WIDER Attribute: λ = 0.3, with a ViT.

Their classifier learns at ten times the backbone's rate, as it does with `schedules/swa.py`. Not
faithful: the config's own schedule and image size. No published number was at hand.
"""

model = dict(
    neck=None,
    head=dict(
        _delete_=True, type="CSRAClsHead", num_heads=1, lam=0.1, loss=dict(type="MeanBCELoss")
    ),
)
keep = ["head.num_classes", "head.in_channels"]
