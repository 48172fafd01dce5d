"""OCD: optimal completion distillation for label sets.

Che-Ping Tsai, Hung-Yi Lee: "Order-Free Learning Alleviating Exposure Bias in Multi-Label
Classification", AAAI 2020; after Sara Sabour, William Chan, Mohammad Norouzi: "Optimal Completion
Distillation for Sequence Learning", ICLR 2019.

Faithful and not: see `OCDLoss`; besides, no second decoder (binary relevance), which Tsai & Lee
train beside and join in prediction; the paper's own model (PLA's) for images, where they had text
and sound.
"""

_base_ = ["pla.py"]
model = dict(head=dict(strategy=None, loss=dict(_delete_=True, type="OCDLoss")))
