"""Stage 1 of the paper: SGD for 40 epochs; the rate is cut to a tenth on a plateau of O-F1.

A plateau is 3 epochs without a better score: mmengine cuts when their number exceeds `patience`.
The paper's words mean epochs in a row; the released code never resets its counter, and cuts at
every third such epoch in total.
"""

hand_over = "best"  # the checkpoint that tools/train_stages.py gives to the next stage

optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
param_scheduler = dict(
    type="ReduceOnPlateauLR",
    monitor="set/OF1",
    rule="greater",
    factor=0.1,
    patience=2,
    threshold=0,
)
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
