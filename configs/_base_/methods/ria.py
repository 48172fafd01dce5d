"""RIA, the recurrent image annotator: an LSTM initialized with the image, rare labels first.

Jiren Jin, Hideki Nakayama: "Annotation Order Matters: Recurrent Image Annotator for Arbitrary
Length Image Tagging", ICPR 2016.

Faithful: the image enters only through the LSTM's initial state; teacher forcing; END decides on
the number of labels. Their other three orders: --cfg-options method=ria
model.head.loss.order=frequent_first (or dictionary, or random). Not faithful: the initial state and
cell come from the mean of the backbone's last feature map, where theirs come from VGG's fully
connected layer; the config's own sizes and schedule. Chosen here: the random order is drawn again
each time an image is seen.
"""

_base_ = ["rare_first.py"]
model = dict(head=dict(decoder=dict(attention_size=None), loss=dict(teacher_forcing=True)))
keep = ["head.decoder.hidden_size", "head.decoder.embed_size", "head.decoder.dropout"]
