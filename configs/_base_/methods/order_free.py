"""Order-free RNN: at each step a probability for every remaining label; no order, no END.

Shang-Fu Chen, Yi-Chen Chen, Chih-Kuan Yeh, Yu-Chiang Frank Wang: "Order-Free RNN with Visual
Attention for Multi-Label Classification", AAAI 2018.

What is faithful and what is not: see `OrderFreeRNNHead`; also the config's own sizes, backbone and
schedule. Decoding stops below a probability of 0.5; with --cfg-options method=order_free
model.head.stop=learned the model learns when to stop.
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
