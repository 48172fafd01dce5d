"""Stage 3 (not in the paper): Adam for 5 epochs; each one without a better O-F1 halves the rate.

It is meant for a `LabelSetClassifier` with `freeze_encoder=True`.
"""

optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-5, fused=True))
param_scheduler = dict(
    type="ReduceOnPlateauLR",
    monitor="set/OF1",
    rule="greater",
    factor=0.5,
    patience=0,
    threshold=0,
)
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
