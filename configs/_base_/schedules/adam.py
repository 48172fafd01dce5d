"""Adam for 30 epochs; the encoder learns at a tenth of the decoder's rate."""

optim_wrapper = dict(
    optimizer=dict(type="Adam", lr=1e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
)
param_scheduler = dict(
    type="CosineAnnealingLR", T_max=30, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
