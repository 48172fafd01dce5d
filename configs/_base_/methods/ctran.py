"""C-Tran: a Transformer over cells and labels, some of which are known in training.

Jack Lanchantin, Tianlu Wang, Vicente Ordonez, Yanjun Qi: "General Multi-label Image Classification
with Transformers", CVPR 2021.

Faithful to the authors' code: label mask training; one token for each cell, without positions, and
each class; 3 layers of 4 heads. Not faithful: tokens of at most 512 entries, where theirs have the
2048 of ResNet-101's map (--cfg-options method=ctran model.head.embed_size=2048, which leaves out
the projection); the mean over the classes that are not known, where their code sums over them; the
config's own schedule and image size, where theirs are Adam at 1e-5 and 576×576. With layer norms
after each part, tokens of 128 entries and more did not learn at the digits' rate of 5e-3. No
published number was at hand.
"""

model = dict(
    neck=None,
    head=dict(_delete_=True, type="CTranHead", loss=dict(type="MeanBCELoss")),
)
keep = ["head.num_classes", "head.in_channels"]
