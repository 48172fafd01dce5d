"""BCE and count: every label by itself, and the number of labels as a class of its own.

Luis Pineda, Amaia Salvador, Michal Drozdzal, Adriana Romero: "Elucidating image-to-set prediction:
An analysis of models, losses and datasets", arXiv 2019 (`ff_bce_cat` of the authors' code). No
published number was at hand; their C-F1 is the mean of the classes' F1.

Faithful: the mean binary cross-entropy plus 0.01 (their weight on COCO) times the cross-entropy of
the count, both training the encoder; the best classes, as many as the most probable count, are
predicted. Not faithful: see `soft_iou.py`; counts go up to the number of classes, where theirs end
at the largest count of the dataset.
"""

_base_ = ["bce.py"]
model = dict(
    head=dict(
        type="DecidedHead", decision=dict(type="CountDecision", loss_weight=0.01), detach=False
    )
)
