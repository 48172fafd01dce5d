"""Stage 1 of 2 of MLIC-KD-WSD's student, the teacher's features: VGG16, COCO 2014, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/coco/wsd_features_vgg16_coco.py \
    --cfg-options model.teacher.checkpoint=work_dirs/wsddn_vgg16_coco/epoch_40.pth

The teacher sees 672×672. Labels are not used, so that the scores of validation mean nothing.
"""

_base_ = ["wsd_student_vgg16_coco.py"]
model = dict(features=True)
param_scheduler = dict(  # nothing to watch for a plateau
    _delete_=True, type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True
)
hand_over = "last"
