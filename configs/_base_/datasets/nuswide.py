"""NUS-WIDE: the paper's protocol, 150,000 labelled images to train and 59,347 to test, 224×224.

Three random splits: run with train_dataloader.dataset.split_index=0, 1, 2 (and the same for val and
test) and average the last checkpoints; the paper averages the best test score of each split, which
selects on the test set. The owners' files lie below data/nus_wide: ConceptsList/, Groundtruth/,
ImageList/, Flickr/. Images whose Flickr link is dead: drop_missing=True.
"""

data_preprocessor = dict(
    num_classes=81,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type="LoadImage"),
    # The paper: random affine and contrast. Not stated there (†): how far, and the flip.
    dict(type="NumpyToPIL", to_rgb=True),
    dict(type="torchvision/RandomAffine", degrees=0, translate=(0.03, 0.03)),
    dict(type="torchvision/ColorJitter", contrast=0.25),
    dict(type="PILToNumpy", to_bgr=True),
    dict(type="Resize", scale=(224, 224)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),  # the same picture, cheaper here
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(224, 224)),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="NusWide",
        data_root="data/nus_wide",
        split="train",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="NusWide",
        data_root="data/nus_wide",
        split="test",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
