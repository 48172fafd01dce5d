"""HP-Net's stage 2 of 3, attention maps and streams alone: ResNet-50, PA-100K, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/pa100k/hp_net_resnet50_pa100k_streams.py --cfg-options load_from=FILE
FILE: work_dirs/deepmar_resnet50_pa100k/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
"""

_base_ = ["hp_net_resnet50_pa100k.py"]
model = dict(head=dict(stage="attention"))
