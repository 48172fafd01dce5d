"""WSDDN on grid windows: every label by itself, from scores of windows; the teacher of MLIC-KD-WSD.

Hakan Bilen, Andrea Vedaldi: "Weakly Supervised Deep Detection Networks", CVPR 2016; Yongcheng Liu,
Lu Sheng, Jing Shao, Junjie Yan, Shiming Xiang, Chunhong Pan: "Multi-Label Image Classification via
Knowledge Distillation from Weakly-Supervised Detection", ACM MM 2018. How a student learns from it:
`DistillingClassifier`.

Faithful: the two softmaxes, binary cross-entropy of their sum. Not faithful: windows on a grid
instead of EdgeBoxes' proposals, and the rest that `WSDDNHead` lists; hidden layers of 256 on the
mean of a window, where the authors have VGG's of 4096 on 7x7 cells; the config's own image size
(672x672 there) and schedule. BCE is a mean over classes, a sum there.

Published (percent): mAP of the teacher on COCO 78.6, of its VGG16 student 74.6, of that student
alone 70.9; NUS-WIDE 58.2, 60.1 and 55.6. C-F1 and O-F1 of the student: COCO 69.20 and 74.00,
NUS-WIDE 58.70 and 73.70 (how its C-F1 averages is not known).
"""

model = dict(
    neck=None,
    head=dict(_delete_=True, type="WSDDNHead", loss=dict(type="MeanBCELoss")),
)
keep = ["head.num_classes", "head.in_channels"]
