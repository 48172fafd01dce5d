"""Order-free RNN: at each step a probability for every remaining label; no order, no END.

Shang-Fu Chen, Yi-Chen Chen, Chih-Kuan Yeh, Yu-Chiang Frank Wang: "Order-Free RNN with Visual
Attention for Multi-Label Classification", AAAI 2018.

What is as in the paper and what is not: see `OrderFreeLoss` and `OrderFreeRNN`. The paper's beam
search is left out. Decoding stops below a probability of 0.5, in place of the paper's learned
threshold; the config's own sizes, backbone and schedule.
"""

_base_ = ["pla.py"]
model = dict(
    head=dict(
        decoder=dict(type="OrderFreeRNN"),
        loss=dict(type="OrderFreeLoss"),
        decoding=dict(_delete_=True, stop_threshold=0.5, no_repeat=True),
    )
)
