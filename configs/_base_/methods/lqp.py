"""LQP, label quantity prediction: every label by itself, and their number by regression.

Yulei Niu, Zhiwu Lu, Ji-Rong Wen, Tao Xiang, Shih-Fu Chang: "Multi-Modal Multi-Scale Deep Learning
for Large-Scale Image Annotation", IEEE TIP 2019; a row of Table 4 (MS-CNN+LQP). Published with
ResNet-101 on COCO (C-P, C-R, C-F1, O-P, O-R, O-F1; C-F1 is the harmonic mean of C-P and C-R):
67.48, 60.93, 64.04, 70.22, 67.93, 69.06. Not reproduced here.

Faithful: an auxiliary task predicts the number of labels (the abstract; the rest of the paper was
not at hand). As in a public reimplementation: the squared error, hidden layers of 512 and 256 with
dropout, numbers up to 7, trained on fixed features. Not verified: rounding the number (the
reimplementation truncates), ReLU between the layers (it has none), the largest number. Not
faithful: 0 labels are possible, where its numbers begin at 1; the binary cross-entropy is a mean
over images and classes, where it sums over classes; all parts are trained together; no tags of
users, its second modality; the config's own schedule. The branch that fuses the stages is in
`configs/coco/ms_cnn_lqp_resnet101_coco.py`.
"""

_base_ = ["bce.py"]
model = dict(
    head=dict(
        type="DecidedHead",
        decision=dict(type="QuantityDecision", widths=(512, 256), max_count=7, dropout=0.5),
    )
)
