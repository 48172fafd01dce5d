"""PLA with prompted training: half of the images start with some of their labels.

A method of ours, for completing label sets: PLA that is fed its own predictions alone collapses
after labels that somebody else gives. `PromptedLoss` says how labels are drawn.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="PLALoss", prompt=0.5)))
