"""Target distribution: a softmax over the classes, whose target is uniform over the labels.

Luis Pineda, Amaia Salvador, Michal Drozdzal, Adriana Romero: "Elucidating image-to-set prediction:
An analysis of models, losses and datasets", arXiv 2019. No published number was at hand; their
C-F1 is the mean of the classes' F1.

Faithful: the loss, a mean over images, and the decision: the most probable classes until they hold
half of the mass, so that no set is empty, as in the authors' code. Not faithful: see `soft_iou.py`.
"""

_base_ = ["bce.py"]
model = dict(
    head=dict(
        type="DecidedHead",
        decision=dict(type="MassDecision"),
        loss=dict(_delete_=True, type="TargetDistributionLoss"),
    )
)
