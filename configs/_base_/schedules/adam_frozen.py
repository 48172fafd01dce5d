"""Adam for 12 epochs, for a decoder or a linear head on frozen features."""

optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3, fused=True), clip_grad=dict(max_norm=5.0))
param_scheduler = dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=1)
val_cfg = dict()
test_cfg = dict()
