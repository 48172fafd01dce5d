"""Stage 3 of 3, the decoder alone with PLA: VGG16, NUS-WIDE, 224×224.

Paper: C-F1 56.23, O-F1 72.37 (Table 5, mean of 3 splits). Here: not run.
python tools/train.py configs/nuswide/pla_vgg16_nuswide_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_vgg16_nuswide/epoch_30.pth, the averaged weights of stage 2.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/nuswide.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(
    type="LabelSetClassifier",
    freeze_encoder=True,
    head=dict(num_classes=81, max_steps=82),
)
