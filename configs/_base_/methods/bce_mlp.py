"""BCE, one hidden layer: every label by itself, from the average of the map.

A baseline of ours, fair to methods that have hidden layers of their own: `bce.py` with a hidden
layer of 512 and dropout of 0.5 before and after it.
"""

_base_ = ["bce.py"]
model = dict(head=dict(type="MultiLabelMLPHead"))
