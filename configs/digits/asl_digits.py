"""ASL (Ridnik et al. 2021) on the digit scenes; see _base_/methods/asl.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/asl_digits.py
"""

_base_ = ["pla_digits.py"]
method = "asl"
model = dict(neck=dict(type="GeneralizedMeanPooling"))  # as bce_digits.py: small digits
