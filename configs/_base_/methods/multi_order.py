"""Multi-order RNN: at each step a probability for every remaining label; no order, no END.

Ayushi Dutta, Yashaswi Verma, C. V. Jawahar: "Recurrent Image Annotation with Explicit Inter-Label
Dependencies", ECCV 2020.

Faithful to the authors' code: each step is trained on the labels that remain, up to the image's
number of labels; the model's own most probable label is fed back; in prediction no label can be
repeated; a class's score is the largest over the steps (theirs of the logits, here of the
probabilities, which ranks alike). Not faithful: no label is repeated in training either, where
theirs feeds back the plain arg max; decoding stops below a probability of 0.5, where theirs takes
a fixed number of best scores; the decoder (`MultiOrderRNN`); an image without labels counts one
step; the mean over steps and classes instead of the sum; the config's own sizes, backbone and
schedule. No published number was at hand.
"""

_base_ = ["pla.py"]
model = dict(
    head=dict(
        decoder=dict(type="MultiOrderRNN"),
        loss=dict(type="MultiOrderLoss"),
        decoding=dict(_delete_=True, stop_threshold=0.5, no_repeat=True),
    )
)
