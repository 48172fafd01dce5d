"""Set pooling with a Transformer decoder.

Luis Pineda, Amaia Salvador, Michal Drozdzal, Adriana Romero: "Elucidating image-to-set prediction:
An analysis of models, losses and datasets", arXiv 2019 (`tfset` of the authors' code).

What is faithful and what is not: see `set_pool.py`. Also not faithful: our Transformer has
positions, theirs has none.
"""

_base_ = ["set_pool.py"]
model = dict(head=dict(decoder=dict(type="TransformerLabelDecoder")))
