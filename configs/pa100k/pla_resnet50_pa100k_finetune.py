"""Stage 3 of 3, the decoder alone with PLA: ResNet-50, PA-100K, 224×224.

Paper: F1 87.58, accuracy 79.83 (Table 7, per image). Here: not run.
python tools/train.py configs/pa100k/pla_resnet50_pa100k_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_resnet50_pa100k/epoch_30.pth, the averaged weights of stage 2.
"""

_base_ = [
    "../_base_/models/orderless_resnet50.py",
    "../_base_/datasets/pa100k.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(
    type="LabelSetClassifier",
    freeze_encoder=True,
    head=dict(num_classes=26, max_steps=27),
)
