"""Stage 2 of 3, encoder and decoder with PLA: VGG16, NUS-WIDE, 224×224.

Paper: C-F1 56.23, O-F1 72.37 (Table 5, mean of 3 splits). Here: not run.
python tools/train.py configs/nuswide/pla_vgg16_nuswide.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_nuswide/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/nuswide.py",
    "../_base_/schedules/swa.py",
]
model = dict(head=dict(num_classes=81, max_steps=82))
