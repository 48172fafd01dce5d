"""OCD: optimal completion distillation for label sets.

Che-Ping Tsai, Hung-Yi Lee: "Order-Free Learning Alleviating Exposure Bias in Multi-Label
Classification", AAAI 2020; after Sara Sabour, William Chan, Mohammad Norouzi: "Optimal Completion
Distillation for Sequence Learning", ICLR 2019.

What is faithful and what is not: see `OCDLoss`. Also not faithful: Tsai & Lee train a second
decoder (binary relevance) jointly and combine both in prediction, which is left out; the model is
PLA's, for images, where theirs were for text and sound.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="OCDLoss")))
