"""SRN's schedule, not verified: SGD from 1e-3, cut to a tenth on plateaus of O-F1 down to 1e-5."""

_base_ = ["sgd.py"]
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=5e-4))
param_scheduler = dict(min_value=1e-5)
auto_scale_lr = dict(base_batch_size=96)
