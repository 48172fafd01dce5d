"""COCO 2014 as in coco.py, at 672×672."""

_base_ = ["coco.py"]

train_pipeline = [
    {**step, "scale": (672, 672)} if step["type"] == "Resize" else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    {**step, "scale": (672, 672)} if step["type"] == "Resize" else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
