"""RIA, the recurrent image annotator: an LSTM whose first state is the image, rare labels first.

Jiren Jin, Hideki Nakayama: "Annotation Order Matters: Recurrent Image Annotator for Arbitrary
Length Image Tagging", ICPR 2016.

Faithful: the image enters through the LSTM's first state alone, the true labels are fed back while
training (teacher forcing), END decides on the number of labels. Their four orders: this one, and
--cfg-options method=ria model.head.strategy=frequent_first (or dictionary, or random). Not
faithful: first state and cell from the mean of the backbone's last map, where they take VGG's fully
connected layer; the config's own sizes and schedule. Chosen here: the random order is drawn anew
each time an image is seen.
"""

_base_ = ["rare_first.py"]
model = dict(head=dict(feed="target", attention_size=None))
