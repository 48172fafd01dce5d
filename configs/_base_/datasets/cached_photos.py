"""Maps of a frozen backbone, stored by tools/cache_features.py in data/photos_features."""

data_preprocessor = dict(num_classes=24)  # no normalisation: the inputs are features

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
