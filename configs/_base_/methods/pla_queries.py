"""PLA on class queries: they score the labels, and an LSTM says when to stop.

A method of ours: the class queries of `class_queries.py`, trained by binary cross-entropy, beside
PLA on a recurrent net that is fed the emitted labels. It emits the most probable label that is
left, until END, and needs no threshold. `ClassQueryLSTM` has the equations. MLA, fixed orders and
OCD train it as well (`model.head.loss`); corrects=True lets the LSTM change the labels' logits:
--cfg-options method=pla_queries model.head.decoder.corrects=True.

Chosen here, after a trial: four times the cross-entropy of the sequence divided by the number of
classes, beside the mean of the binary cross-entropy.
"""

_base_ = ["pla.py"]
model = dict(head=dict(decoder=dict(type="ClassQueryLSTM")))
keep = ["head.decoder.hidden_size", "head.decoder.embed_size", "head.decoder.dropout"]
