"""BCE, taught by PLA as well: a small CNN and a linear head, scenes of digits, 48×48.

Paper: no number. Here: not run.
python tools/train.py configs/digits/distilled_digits.py

It needs the checkpoint of pla_digits. `DistillingClassifier` has the options.
"""

_base_ = ["bce_digits.py"]
model = dict(
    type="DistillingClassifier",
    teacher=dict(
        config="configs/digits/pla_digits.py", checkpoint="work_dirs/pla_digits/epoch_16.pth"
    ),
    temperature=1.0,
)
