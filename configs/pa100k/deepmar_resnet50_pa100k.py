"""HP-Net's stage 1 of 3, the network without attention, with DeepMAR's loss: ResNet-50, PA-100K.

Paper: no number. Here: not run.
python tools/train.py configs/pa100k/deepmar_resnet50_pa100k.py
"""

_base_ = ["bce_resnet50_pa100k.py"]
model = dict(head=dict(loss=dict(_delete_=True, type="PriorWeightedBCELoss")))
