"""Stage 2 of the recipe's 3, encoder and decoder with PLA: ResNet-101, COCO 2014, 288×288.

Paper: C-F1 74.17, O-F1 77.14 (Table 4). Here: not run.
python tools/train.py configs/coco/pla_resnet101_coco.py --cfg-options load_from=FILE
FILE: work_dirs/bce_resnet101_coco/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
The learning rate is set in configs/_base_/schedules/swa.py, for all configs that use it; for one
run: --cfg-options optim_wrapper.optimizer.lr=5e-4
"""

_base_ = [
    "../_base_/models/orderless_resnet101.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/swa.py",
]
