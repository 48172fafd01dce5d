"""ASL: every label by itself, with the asymmetric loss, which down-weights easy negatives.

Tal Ridnik, Emanuel Ben-Baruch, Nadav Zamir, Asaf Noy, Itamar Friedman, Matan Protter, Lihi
Zelnik-Manor: "Asymmetric Loss for Multi-Label Classification", ICCV 2021.

mmpretrain's `AsymmetricLoss` in place of BCE, otherwise `bce.py`. Faithful: the formula, with
γ+ = 0, γ− = 4 and the margin 0.05. Not faithful: the sum over the classes is averaged over the
images, where the authors' code sums over both (Adam is invariant to the factor, clip_grad is not);
a linear head on the pooled map; the config's own schedule. The loss raises probabilities: choose
the threshold, 0.5 here, on held-out images.
"""

_base_ = ["bce.py"]
model = dict(
    head=dict(
        loss=dict(_delete_=True, type="AsymmetricLoss", gamma_pos=0.0, gamma_neg=4.0, clip=0.05)
    )
)
