"""Stage 2 of 2 of MLIC-KD-WSD's student, labels and scores: VGG16, COCO 2014, 224×224.

Paper: C-F1 69.20, O-F1 74.00 (Liu et al. 2018). Here: not run.
python tools/train.py configs/coco/wsd_student_vgg16_coco.py --cfg-options load_from=FILE \
    model.teacher.checkpoint=work_dirs/wsddn_vgg16_coco/epoch_40.pth
FILE: work_dirs/wsd_features_vgg16_coco/epoch_40.pth, the last of stage 1.

`DistillingClassifier` has the citation, and what is faithful.
"""

_base_ = [
    "../_base_/models/wsd_vgg16.py",
    "../_base_/datasets/coco_672.py",
    "../_base_/schedules/wsd.py",
    "../_base_/default_runtime.py",
]
model = dict(
    type="DistillingClassifier",
    teacher=dict(
        config="configs/coco/wsddn_vgg16_coco.py",
        checkpoint="work_dirs/wsddn_vgg16_coco/epoch_40.pth",
    ),
    temperature=5.0,
    sharpen=0.5,
    student_scale=1 / 3,
    head=dict(type="WindowClsHead"),
)
test_pipeline = [
    {**step, "scale": (224, 224)} if step["type"] == "Resize" else step
    for step in _base_.test_pipeline
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
