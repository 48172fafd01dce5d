"""COCO 2014 for the comparison of orderings: no augmentation, a part of train2014 to validate.

Both are the paper's for Table 2. † Chosen here: the part (a tenth, drawn once) and the size
(288×288). The test set is val2014.
"""

_base_ = ["coco.py"]

val_split = 0.1
train_pipeline = _base_.test_pipeline
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
