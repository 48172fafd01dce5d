"""SR CNN-RNN: class probabilities as the interface between CNN and LSTM, rare labels first.

Feng Liu, Tao Xiang, Timothy M. Hospedales, Wankou Yang, Changyin Sun: "Semantic Regularisation for
Recurrent Image Annotation", CVPR 2017.

Faithful: the LSTM sees of an image only its class probabilities, which have a loss of their own;
the order; teacher forcing. Not faithful: all parts are trained together from the start (see
`SemanticRNN`); the config's own sizes, backbone and schedule.
"""

_base_ = ["rare_first.py"]
model = dict(head=dict(decoder=dict(type="SemanticRNN"), loss=dict(teacher_forcing=True)))
keep = ["head.decoder.hidden_size", "head.decoder.embed_size"]
