"""Order-free RNN: at each step the probability of every label that is left, no order, no END.

Shang-Fu Chen, Yi-Chen Chen, Chih-Kuan Yeh, Yu-Chiang Frank Wang: "Order-Free RNN with Visual
Attention for Multi-Label Classification", AAAI 2018.

Faithful and not: see `OrderFreeRNNHead`; besides, the config's own sizes, backbone and schedule. It
stops below a probability of 0.5; --cfg-options method=order_free model.head.stop=learned learns
where.
"""

model = dict(head=dict(_delete_=True, type="OrderFreeRNNHead"))
keep = [
    "head.num_classes",
    "head.in_channels",
    "head.max_steps",
    "head.hidden_size",
    "head.embed_size",
    "head.attention_size",
    "head.dropout",
    "head.drop_class_token",
]
