"""Stage 2 of 3, encoder and decoder with PLA: ResNet-50, PA-100K, 224×224.

Paper: F1 87.58, accuracy 79.83 (Table 7, per image). Here: not run.
python tools/train.py configs/pa100k/pla_resnet50_pa100k.py --cfg-options load_from=FILE
FILE: work_dirs/bce_resnet50_pa100k/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = [
    "../_base_/models/orderless_resnet50.py",
    "../_base_/datasets/pa100k.py",
    "../_base_/schedules/swa.py",
]
model = dict(head=dict(num_classes=26, max_steps=27))
