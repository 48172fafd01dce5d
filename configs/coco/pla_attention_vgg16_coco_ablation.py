"""PLA with attention, VGG16, COCO 2014, otherwise as pla_vgg16_coco_ablation.py (Table 2).

Paper: C-F1 65.81, O-F1 70.62. Here: not run.
Hardware: one GPU; memory and time not measured.
python tools/train.py configs/coco/pla_attention_vgg16_coco_ablation.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_coco_ablation/best_set_OF1_epoch_N.pth, the best BCE encoder.
"""

_base_ = ["pla_vgg16_coco_ablation.py"]
model = dict(head=dict(attention_size=512))
