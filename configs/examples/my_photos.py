"""PLA on a config of mmpretrain: ResNet-50, your photos in data/photos, 24 classes, 224×224.

An example to copy: everything that must change in one of mmpretrain's ImageNet configs is here.
python tools/train.py configs/examples/my_photos.py
"""

_base_ = ["mmpretrain::resnet/resnet50_8xb32_in1k.py"]
custom_imports = dict(imports=["mmorderless"], allow_failed_imports=False)

model = dict(
    backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50")),
    neck=None,  # the decoder attends to the map: no pooling
    train_cfg=None,  # no Mixup or CutMix: soft labels cannot be put into a sequence
    head=dict(
        _delete_=True,
        type="OrderlessRNNHead",
        num_classes=24,
        in_channels=2048,
        max_steps=20,  # most labels of an image + END
        decoder=dict(type="AttentionLSTM", hidden_size=512, embed_size=256, attention_size=512),
        loss=dict(type="PLALoss"),  # MLALoss, FixedOrderLoss(order="frequent_first"), ...
    ),
)
data_preprocessor = dict(num_classes=24)

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(224, 224)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(224, 224)),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="JsonMultiLabel",
        data_root="data/photos",
        ann_file="train.json",
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="JsonMultiLabel",
        data_root="data/photos",
        ann_file="val.json",
        pipeline=test_pipeline,
        test_mode=True,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="LabelSetMetric")
test_evaluator = dict(_delete_=True, type="LabelSetMetric")

optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type="Adam", lr=1e-4, fused=True),
    constructor="MergedGroupsConstructor",
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
)
default_hooks = dict(checkpoint=dict(save_best="set/OF1", rule="greater"))
custom_hooks = [
    dict(type="DeterministicResumeHook"),  # a resumed run equals an uninterrupted one
    dict(type="ValidateOnResumeHook"),
    dict(type="TrainingContextHook"),  # gives losses label counts and seeds
    dict(type="LabelSetReportHook"),  # co-occurrence, order statistics, pictures
]
# Losses, scores and the hook's pictures in TensorBoard (pip install tensorboard):
# visualizer = dict(
#     type="UniversalVisualizer",
#     vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
# )
