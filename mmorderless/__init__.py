"""Classifiers that predict a set of labels, for OpenMMLab.

Importing this package registers its heads, losses, datasets, metrics and hooks in mmpretrain's
registries, so that a config needs one line to use them::

    custom_imports = dict(imports=["mmorderless"], allow_failed_imports=False)

A config whose `_base_` is `mmorderless::NAME` is read after the import, as the tools do.
"""

from ._compat import allow_mmengine_checkpoints, disable_multimodal_models, require_openmmlab

require_openmmlab()
disable_multimodal_models()
allow_mmengine_checkpoints()

from . import alignment, datasets, engine, inference, labels, metrics, models, runs  # noqa: E402
from .alignment import align_min_loss, align_predicted  # noqa: E402
from .inference import OrderlessInferencer  # noqa: E402
from .metrics import LabelSetMetric  # noqa: E402
from .models.heads import OrderlessRNNHead  # noqa: E402
from .models.losses import FixedOrderLoss, MLALoss, PLALoss  # noqa: E402
from .runs.checkpoint_files import protect_checkpoint_loader  # noqa: E402
from .runs.config import read_config  # noqa: E402
from .runs.shipped import register_configs  # noqa: E402
from .version import __version__  # noqa: E402

protect_checkpoint_loader()
register_configs()

__all__ = [
    "FixedOrderLoss",
    "LabelSetMetric",
    "MLALoss",
    "OrderlessInferencer",
    "OrderlessRNNHead",
    "PLALoss",
    "__version__",
    "align_min_loss",
    "align_predicted",
    "alignment",
    "datasets",
    "engine",
    "inference",
    "labels",
    "metrics",
    "models",
    "read_config",
    "runs",
]
