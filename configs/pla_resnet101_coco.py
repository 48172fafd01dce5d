"""PLA, ResNet-101, COCO 2014, 288×288: coco/pla_resnet101_coco.py under a shorter path.

The second of the recipe's three stages (configs/README.md). The learning rate is
set in configs/_base_/schedules/swa.py, for all configs that use it; for one run:
--cfg-options optim_wrapper.optimizer.lr=5e-4
"""

_base_ = ["coco/pla_resnet101_coco.py"]
