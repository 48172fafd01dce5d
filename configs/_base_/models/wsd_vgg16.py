"""VGG16 up to conv5_3 (stride 16) and the heads of MLIC-KD-WSD at their size: windows of 7×7 cells,
hidden layers of 4096.
"""

_base_ = ["bce_vgg16.py"]
model = dict(
    backbone=dict(with_last_pool=False),
    neck=None,
    head=dict(
        _delete_=True,
        type="WSDDNHead",
        num_classes=80,
        in_channels=512,
        hidden_size=4096,
        pooled_size=7,
        loss=dict(type="MeanBCELoss"),
    ),
)
