"""RIA, the recurrent image annotator: an LSTM initialized with the image, rare labels first.

Jiren Jin, Hideki Nakayama: "Annotation Order Matters: Recurrent Image Annotator for Arbitrary
Length Image Tagging", ICPR 2016.

Faithful, after the first author's code: the image enters only through the LSTM's initial hidden
state, the cell starts at 0; the forget gate's bias starts at 1; a hidden layer before the output;
teacher forcing; END decides on the number of labels; the loss is the mean over each image's own
steps. Their other three orders: --cfg-options method=ria model.head.loss.order=frequent_first (or
dictionary, or random). Not faithful: the mean of the backbone's last feature map, where theirs come
from VGG's fully connected layer; the config's own sizes, dropout (0.5 in the author's demo) and
schedule. Chosen here: the random order is drawn again each time an image is seen. No published
number was at hand.
"""

_base_ = ["rare_first.py"]
model = dict(
    head=dict(
        decoder=dict(type="RecurrentAnnotator"),
        loss=dict(teacher_forcing=True, average="image"),
    )
)
keep = ["head.decoder.hidden_size", "head.decoder.embed_size", "head.decoder.dropout"]
