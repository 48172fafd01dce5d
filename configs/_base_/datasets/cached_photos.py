"""Feature maps of a frozen backbone, written to data/photos_features by tools/cache_features.py."""

data_preprocessor = dict(num_classes=24)  # no normalization: the inputs are features

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="CachedFeatures", cache="data/photos_features", split="train"),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CachedFeatures", cache="data/photos_features", split="val"),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
