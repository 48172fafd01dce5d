"""Multi-order RNN: at each step a probability for every remaining label; no order, no END.

Ayushi Dutta, Yashaswi Verma, C. V. Jawahar: "Recurrent Image Annotation with Explicit Inter-Label
Dependencies", ECCV 2020.

Faithful: each step is trained on the labels that remain; the model's own most probable label is
fed back; a class's score is the largest over the steps (theirs of the logits, here of the
probabilities, which ranks alike). No label can be repeated. Not verified: the
decoder (`MultiOrderRNN`) and where decoding stops, below a probability of 0.5 here. Not faithful:
the config's own sizes, backbone and schedule.
"""

_base_ = ["pla.py"]
model = dict(
    head=dict(
        decoder=dict(type="MultiOrderRNN"),
        loss=dict(type="MultiOrderLoss"),
        decoding=dict(_delete_=True, stop_threshold=0.5, no_repeat=True),
    )
)
