"""SR CNN-RNN (Liu et al. 2017) on the digit scenes; see _base_/methods/sr_cnn_rnn.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/sr_cnn_rnn_digits.py
"""

_base_ = ["pla_digits.py"]
method = "sr_cnn_rnn"
