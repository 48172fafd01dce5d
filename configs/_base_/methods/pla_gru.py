"""PLA with a GRU instead of the LSTM, a variant that the paper does not have.

PLA: Yazici et al., CVPR 2020 (`pla.py`). The GRU: Kyunghyun Cho, Bart van Merrienboer, Caglar
Gulcehre, Dzmitry Bahdanau, Fethi Bougares, Holger Schwenk, Yoshua Bengio: "Learning Phrase
Representations using RNN Encoder-Decoder for Statistical Machine Translation", EMNLP 2014.

Everything else is as in `pla.py`. Not faithful to the GRU: PyTorch's applies the reset gate after
the matrix product.
"""

_base_ = ["pla.py"]
model = dict(head=dict(decoder=dict(type="AttentionGRU")))
