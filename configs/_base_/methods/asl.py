"""ASL: every label by itself, with the asymmetric loss, which down-weights easy negatives.

Tal Ridnik, Emanuel Ben-Baruch, Nadav Zamir, Asaf Noy, Itamar Friedman, Matan Protter, Lihi
Zelnik-Manor: "Asymmetric Loss for Multi-Label Classification", ICCV 2021.

`bce.py` with another loss and threshold. Faithful: the formula, with γ+ = 0, γ− = 4 and the margin
0.05; no gradient through the focusing weight, as in the authors' trainings; the threshold 0.8 of
their tests, since the loss raises probabilities. Not faithful: the mean over all B·C entries, where
the authors' code sums (Adam is invariant to the factor, clip_grad is not); a linear head on the
pooled map of the config's backbone, where theirs is TResNet; no average of the weights (EMA); the
config's own schedule, where theirs is one-cycle. No published number was at hand.
"""

_base_ = ["bce.py"]
model = dict(
    head=dict(
        thr=0.8,
        loss=dict(
            _delete_=True,
            type="DetachedAsymmetricLoss",
            gamma_pos=0.0,
            gamma_neg=4.0,
            clip=0.05,
        ),
    )
)
