"""Stage 2 of the paper: Adam for 30 epochs, sawtooth learning rate, averaged weights.

The encoder learns at a tenth of the decoder's rate (not in the paper). Instead of
`../default_runtime.py`, which this file brings along: two bases cannot both have hooks.
"""

_base_ = ["../default_runtime.py"]

optim_wrapper = dict(
    optimizer=dict(type="Adam", lr=1e-3, fused=True),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
)
param_scheduler = dict(type="SawtoothLR")
default_hooks = dict(swa=dict(type="SWAHook"))
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
