"""CNN-RNN (Wang et al. 2016) on the digit scenes; see _base_/methods/cnn_rnn.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/cnn_rnn_digits.py
"""

_base_ = ["pla_digits.py"]
method = "cnn_rnn"
