"""Classifiers that generate a set of labels, for OpenMMLab.

Importing this package registers its heads, losses, datasets, metrics and hooks in mmpretrain's
registries, so that a config needs one line to use them::

    custom_imports = dict(imports=['mmorderless'], allow_failed_imports=False)
"""

from ._compat import allow_mmengine_checkpoints, require_openmmlab

require_openmmlab()
allow_mmengine_checkpoints()

from . import analysis, datasets, hooks, inference, metrics, models, schedules  # noqa: E402
from .inference import OrderlessInferencer  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = [
    "OrderlessInferencer",
    "__version__",
    "analysis",
    "datasets",
    "hooks",
    "inference",
    "metrics",
    "models",
    "schedules",
]
