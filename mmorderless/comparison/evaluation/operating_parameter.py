"""The parameter that moves a method's operating point: a threshold, an END bias or θ."""

from dataclasses import dataclass, replace
from typing import Any

from mmorderless.models.heads.known_sets_head import KnownSetsHead
from mmorderless.models.heads.orderless_head import OrderlessRNNHead

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class OperatingParameter:
    """A head's parameter that trades precision for recall.

    Attributes:
        name: `end_bias`, which changes the predicted sequence, `theta` of `KnownSetsHead`'s risk
            rule, which changes the predicted set, or `threshold` on the scores.
        default: value in the model's config; None for a head that decides by a rule of its own,
            which no value of the parameter gives.
    """

    name: str
    default: float | None


def operating_parameter_of(head: Any) -> OperatingParameter:
    """Return a head's operating parameter; without `thr` it decides by a rule, such as a count."""
    if isinstance(head, OrderlessRNNHead):
        return OperatingParameter("end_bias", float(head.decoding.end_bias))
    if isinstance(head, KnownSetsHead):
        return OperatingParameter("theta", float(head.theta))
    threshold = getattr(head, "thr", None)
    return OperatingParameter("threshold", None if threshold is None else float(threshold))


def override(head: Any, value: float) -> dict[str, Any]:
    """Return the attributes that set a head's END bias, θ or threshold."""
    if isinstance(head, OrderlessRNNHead):
        return {"decoding": replace(head.decoding, end_bias=value)}
    return {"theta" if isinstance(head, KnownSetsHead) else "thr": value}
