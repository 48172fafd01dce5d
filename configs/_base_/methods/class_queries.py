"""Class queries: every label by itself, from a query's attention and a hidden layer on the mean.

A method of ours, and the one to beat: on frozen features it is ahead of a linear classifier by more
than the differences between most losses. `ClassQueries` has the equations.
"""

model = dict(
    neck=None,
    head=dict(_delete_=True, type="ClassQueryHead", loss=dict(type="MeanBCELoss")),
)
keep = ["head.num_classes", "head.in_channels", "head.drop_class_token"]
