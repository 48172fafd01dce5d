"""SR CNN-RNN: class probabilities as the interface between CNN and LSTM, rare labels first.

Feng Liu, Tao Xiang, Timothy M. Hospedales, Wankou Yang, Changyin Sun: "Semantic Regularisation for
Recurrent Image Annotation", CVPR 2017.

Faithful: the LSTM knows of an image nothing but its class probabilities, which have a loss of their
own; the order; the true labels fed back while training (teacher forcing). Not faithful: what
`SemanticRNN` says of training the parts one by one; the config's own sizes, backbone and schedule.
"""

_base_ = ["rare_first.py"]
model = dict(head=dict(feed="target", decoder=dict(_delete_=True, type="SemanticRNN")))
