"""The teacher of MLIC-KD-WSD, detection on grid windows: VGG16, COCO 2014, 672×672.

Paper: mAP 78.60 (Liu et al. 2018). Here: not run.
python tools/train.py configs/coco/wsddn_vgg16_coco.py

`WSDDNHead` has the citation, and what is faithful: windows on a grid are not the authors' objects.
"""

_base_ = [
    "../_base_/models/wsd_vgg16.py",
    "../_base_/datasets/coco_672.py",
    "../_base_/schedules/wsd.py",
    "../_base_/default_runtime.py",
]
