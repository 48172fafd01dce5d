"""Losses of label sequences and label sets, and of multi-label heads.

A new loss of sequences: subclass `SequenceLoss`, implement `align` (or `forward_train`), register
it in mmpretrain's MODELS, and import it here; `MLALoss` in `aligned.py` is the shortest example. A
config then has `model.head.loss=dict(type=...)`, or a fragment in `configs/_base_/methods` has it.
"""

from mmorderless.models.losses.aligned import FixedOrderLoss, MLALoss, PLALoss
from mmorderless.models.losses.base import SequenceLoss
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy
from mmorderless.models.losses.detached_asymmetric import DetachedAsymmetricLoss
from mmorderless.models.losses.lsep import LSEPLoss
from mmorderless.models.losses.mean_bce import MeanBCELoss
from mmorderless.models.losses.missing_labels import HillLoss, SPLCLoss
from mmorderless.models.losses.multi_order import MultiOrderLoss
from mmorderless.models.losses.optimal_completion import OCDLoss, completion_targets
from mmorderless.models.losses.order_free import OrderFreeLoss
from mmorderless.models.losses.order_search import OrderSearchLoss
from mmorderless.models.losses.prior_weighted import PriorWeightedBCELoss
from mmorderless.models.losses.set_pool import SetPoolLoss
from mmorderless.models.losses.soft_iou import SoftIoULoss
from mmorderless.models.losses.softmax_squared import SoftmaxSquaredLoss
from mmorderless.models.losses.target_distribution import TargetDistributionLoss
from mmorderless.models.losses.two_way import TwoWayLoss

__all__ = [
    "DetachedAsymmetricLoss",
    "FixedOrderLoss",
    "HillLoss",
    "LSEPLoss",
    "MLALoss",
    "MeanBCELoss",
    "MultiOrderLoss",
    "OCDLoss",
    "OrderFreeLoss",
    "OrderSearchLoss",
    "PLALoss",
    "PriorWeightedBCELoss",
    "SPLCLoss",
    "SequenceLoss",
    "SetPoolLoss",
    "SoftIoULoss",
    "SoftmaxSquaredLoss",
    "TargetDistributionLoss",
    "TwoWayLoss",
    "completion_targets",
    "sequence_cross_entropy",
]
