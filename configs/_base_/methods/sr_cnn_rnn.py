"""SR CNN-RNN: class probabilities as the interface between CNN and LSTM, rare labels first.

Feng Liu, Tao Xiang, Timothy M. Hospedales, Wankou Yang, Changyin Sun: "Semantic Regularisation for
Recurrent Image Annotation", CVPR 2017.

Faithful: the LSTM sees of an image only its class probabilities, which have a loss of their own;
the order. They first train the LSTM on the true label vectors in place of the probabilities: train
with model.head.decoder.pretrain=True, then again without it and with load_from=CHECKPOINT. By
default all parts are trained together from the start.

Not verified: how the probabilities enter the LSTM (`SemanticRNN`: its first state) and teacher
forcing. Not faithful: the config's own sizes, backbone and schedule.

Published (percent; C-P, C-R, C-F1, O-P, O-R, O-F1), VGG16: COCO 67.40, 59.83, 63.39, 76.63, 68.73,
72.47; NUS-WIDE 55.65, 50.17, 52.77, 70.57, 71.35, 70.96.
"""

_base_ = ["rare_first.py"]
model = dict(head=dict(decoder=dict(type="SemanticRNN"), loss=dict(teacher_forcing=True)))
keep = ["head.decoder.hidden_size", "head.decoder.embed_size"]
