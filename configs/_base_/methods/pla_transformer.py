"""PLA with a Transformer decoder, a variant that the paper does not have.

PLA: Yazici et al., CVPR 2020 (`pla.py`). The decoder: Ashish Vaswani, Noam Shazeer, Niki Parmar,
Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Lukasz Kaiser, Illia Polosukhin: "Attention Is All You
Need", NIPS 2017.

Faithful: loss, feedback and decoding are the paper's. Not faithful: the authors' own later
Transformer has object queries and emits no sequence (Yazici, van de Weijer, Yu: "Visual
Transformers with Primal Object Queries for Multi-Label Image Classification", ICPR 2022).
"""

_base_ = ["pla.py"]
model = dict(head=dict(decoder=dict(type="TransformerLabelDecoder")))
