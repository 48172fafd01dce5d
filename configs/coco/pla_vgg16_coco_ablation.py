"""PLA without attention, VGG16, COCO 2014 without augmentation: a row of Tables 1 and 2.

Paper: C-F1 64.34, O-F1 69.66, duplicates 0.04 (Tables 1 and 2). Here: not run.
python tools/train.py configs/coco/pla_vgg16_coco_ablation.py --cfg-options load_from=FILE
FILE: work_dirs/bce_vgg16_coco_ablation/best_set_OF1_epoch_N.pth, the best BCE encoder.
The other rows: method=mla, frequent_first, rare_first, dictionary or random as a further option;
PLA with attention: model.head.decoder.attention_size=512.
The label of the table's last row says that only it attends, the text that all rows do unless stated
otherwise; the label is followed here.
† The paper trains for "fewer epochs" than in its recipe; 15 are chosen here, half of the recipe's.
"""

_base_ = [
    "../_base_/models/orderless_vgg16.py",
    "../_base_/datasets/coco_ablation.py",
    "../_base_/schedules/swa.py",
]
model = dict(head=dict(decoder=dict(attention_size=None)))
train_cfg = dict(max_epochs=15)
