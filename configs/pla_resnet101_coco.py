"""PLA, ResNet-101, COCO 2014, 288×288: coco/pla_resnet101_coco.py under a shorter path.

The second of the recipe's three stages (configs/README.md). All configs that use
configs/_base_/schedules/swa.py have its learning rate; to change it for a run:
--cfg-options optim_wrapper.optimizer.lr=5e-4
"""

_base_ = ["coco/pla_resnet101_coco.py"]
