"""Stage 2 of the paper: Adam for 30 epochs, sawtooth learning rate, averaged weights.

The encoder's learning rate is a tenth of the decoder's (not in the paper). A config that uses this
file must not name default_runtime.py as well, which is included here: two bases of a config cannot
both set hooks.
"""

_base_ = ["../default_runtime.py"]

optim_wrapper = dict(
    optimizer=dict(type="Adam", lr=1e-3, fused=True),
    constructor="MergedGroupsConstructor",
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
)
param_scheduler = dict(type="SawtoothLR")
default_hooks = dict(swa=dict(type="SWAHook"))
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
