"""The parameter that moves a method's operating point: a threshold or an END bias."""

from dataclasses import dataclass, replace
from typing import Any

from mmorderless.models.heads.orderless_head import OrderlessRNNHead

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class OperatingParameter:
    """A head's parameter that trades precision for recall.

    Attributes:
        name: `end_bias`, which changes the predicted sequence, or `threshold` on the scores.
        default: value in the model's config.
    """

    name: str
    default: float


def operating_parameter_of(head: Any) -> OperatingParameter:
    """Return a head's operating parameter.

    Args:
        head: a sequence head or one of mmpretrain's multi-label heads.
    """
    if isinstance(head, OrderlessRNNHead):
        return OperatingParameter("end_bias", float(head.decoding.end_bias))
    threshold = getattr(head, "thr", None)
    default = DEFAULT_THRESHOLD if threshold is None else float(threshold)
    return OperatingParameter("threshold", default)


def override(head: Any, end_bias: float) -> dict[str, Any]:
    """Return the attributes that set a sequence head's END bias."""
    return {"decoding": replace(head.decoding, end_bias=end_bias)}
