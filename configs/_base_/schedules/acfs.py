"""ACfs's schedule on COCO: SGD for 14 epochs, the rate cut to a tenth after every 6.

The authors' rate of 1e-3 and weight decay of 5e-4 belong to a sum over 80 classes. For the mean
over the classes, which is the loss here, SGD takes the same steps with 80 times the rate and an
80th of the decay.
"""

_base_ = ["sgd.py"]
hand_over = "last"
optim_wrapper = dict(optimizer=dict(lr=80 * 1e-3, weight_decay=5e-4 / 80))
param_scheduler = dict(_delete_=True, type="StepLR", step_size=6, gamma=0.1)
train_cfg = dict(max_epochs=14)
auto_scale_lr = dict(base_batch_size=24)
