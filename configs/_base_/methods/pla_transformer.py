"""PLA with a Transformer decoder: a variant that the paper does not have.

PLA: Yazici et al., CVPR 2020 (`pla.py`). The decoder: Ashish Vaswani, Noam Shazeer, Niki Parmar,
Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Lukasz Kaiser, Illia Polosukhin: "Attention Is All You
Need", NIPS 2017.

Faithful: loss, feeding and decoding are the paper's; the loss does not know the decoder. Not
faithful: the paper's authors went on to Transformers with object queries instead, which are no
sequence model (Yazici, van de Weijer, Yu: "Visual Transformers with Primal Object Queries for
Multi-Label Image Classification", ICPR 2022).
"""

_base_ = ["pla.py"]
model = dict(head=dict(decoder=dict(_delete_=True, type="TransformerLabelDecoder")))
