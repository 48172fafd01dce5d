"""Adam for a few minutes on a CPU."""

optim_wrapper = dict(optimizer=dict(type="Adam", lr=5e-3, fused=True), clip_grad=dict(max_norm=5.0))
param_scheduler = dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=16, val_interval=4)
val_cfg = dict()
test_cfg = dict()
