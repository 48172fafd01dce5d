"""Classifier chain: each label is classified with the more frequent labels as inputs.

Jesse Read, Bernhard Pfahringer, Geoff Holmes, Eibe Frank: "Classifier chains for multi-label
classification", Machine Learning 2011.

Faithful: a linear classifier for each label, with the true labels before it as inputs in training
and the predicted ones in prediction. Not faithful: all classifiers and the backbone are trained
together by gradient descent. Chosen here: the frequent labels come first. An ensemble of ten chains
in random orders, without the paper's resampling, and with scores averaged where theirs vote:
--cfg-options method=chain model.head.num_chains=10

The loss is the mean over all B·C entries.
"""

model = dict(
    neck=dict(_delete_=True, type="GlobalAveragePooling"),
    head=dict(_delete_=True, type="ChainHead", loss=dict(type="MeanBCELoss")),
)
keep = ["head.num_classes", "head.in_channels"]
