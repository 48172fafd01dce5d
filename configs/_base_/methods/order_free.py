"""Order-free RNN: at each step a probability for every remaining label; no order, no END.

Shang-Fu Chen, Yi-Chen Chen, Chih-Kuan Yeh, Yu-Chiang Frank Wang: "Order-Free RNN with Visual
Attention for Multi-Label Classification", AAAI 2018.

Faithful: each step is trained on the labels that remain, and an image-level classifier informs the
decoder; details: `OrderFreeLoss` and `OrderFreeRNN`. Not faithful: no beam search; decoding stops
below a probability of 0.5, where the paper learns a threshold; the config's own sizes, backbone and
schedule.
"""

_base_ = ["pla.py"]
model = dict(
    head=dict(
        decoder=dict(type="OrderFreeRNN"),
        loss=dict(type="OrderFreeLoss"),
        decoding=dict(_delete_=True, stop_threshold=0.5, no_repeat=True),
    )
)
