"""Options of decoding: END bias, no repeats, number of labels, beam width, threshold."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Decoding:
    """Options of decoding; the defaults are greedy arg max.

    Args:
        beam_width: hypotheses K that are kept of each image; 1 is greedy.
        length_penalty: α; hypotheses are ranked by log p / S^α, S being the number of their tokens
            with END (a variant of Wu et al. 2016). At 0 short sequences have an advantage.
        no_repeat: never emit a label twice.
        min_labels: END and repeated labels are masked until this many distinct labels are emitted.
        max_labels: END is forced after this many distinct labels.
        end_bias: subtracted from END's logit. It trades precision for recall, like a BCE model's
            threshold: above 0 it raises recall, below 0 precision.
        stop_threshold: for models that score each label by a sigmoid: a label is emitted while the
            best one's probability is at least this, and END's logit is not used. None for models
            with a softmax over the labels and END.
        path_threshold: the same for the probability of the whole path, the product of its labels'
            probabilities, which beam search maximizes.
        open_beam: the beam holds hypotheses without END only, as in CNN-RNN; those that end are
            kept beside it.

    Raises:
        ValueError: a number is out of its range, or options exclude each other.
    """

    beam_width: int = 1
    length_penalty: float = 0.0
    no_repeat: bool = False
    min_labels: int = 0
    max_labels: int | None = None
    end_bias: float = 0.0
    stop_threshold: float | None = None
    path_threshold: float | None = None
    open_beam: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                raise ValueError(f"{name} must be a number, True or False, got {value!r}")
        if self.beam_width < 1:
            raise ValueError(f"beam_width must be at least 1 (greedy), got {self.beam_width}")
        if self.min_labels < 0:
            raise ValueError(f"min_labels must not be negative, got {self.min_labels}")
        if self.max_labels is not None and self.max_labels < max(self.min_labels, 1):
            raise ValueError(
                f"max_labels must be at least 1 and at least min_labels={self.min_labels}, got "
                f"{self.max_labels}"
            )
        for name in ("length_penalty", "end_bias"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, got {getattr(self, name)}")
        if self.length_penalty and self.beam_width == 1:
            raise ValueError(
                f"length_penalty={self.length_penalty} ranks hypotheses, and greedy decoding has "
                "one; set beam_width above 1"
            )
        if self.open_beam and (self.beam_width == 1 or self.length_penalty):
            raise ValueError(
                f"open_beam=True is a beam search that ranks by probability, got beam_width="
                f"{self.beam_width}, length_penalty={self.length_penalty}; set beam_width above 1 "
                "and length_penalty=0"
            )
        for name in ("stop_threshold", "path_threshold"):
            threshold = getattr(self, name)
            if threshold is not None and not 0 < threshold < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {threshold}")
        if self.stop_threshold is not None and (self.beam_width > 1 or self.path_threshold):
            raise ValueError(
                f"stop_threshold={self.stop_threshold} is for greedy decoding, got beam_width="
                f"{self.beam_width}, path_threshold={self.path_threshold}; set path_threshold "
                "alone to search with sigmoids"
            )
        if self.path_threshold is not None and (self.length_penalty or self.open_beam):
            raise ValueError(
                f"path_threshold={self.path_threshold} compares paths of one length and has no "
                f"END, got length_penalty={self.length_penalty}, open_beam={self.open_beam}; leave "
                "both out"
            )

    @property
    def has_sigmoids(self) -> bool:
        """Whether each label has a probability of its own, instead of a softmax with END."""
        return self.stop_threshold is not None or self.path_threshold is not None

    @property
    def log_path_threshold(self) -> float:
        """Logarithm of the path threshold; `end_bias` is subtracted from its logit."""
        assert self.path_threshold is not None
        bias = logit(self.path_threshold) - self.end_bias
        return float(F.logsigmoid(torch.tensor(bias, dtype=torch.float64)))

    def check_fits(self, num_classes: int, max_steps: int) -> None:
        """Raise a ValueError when `min_labels` can never be emitted."""
        most = min(num_classes, max_steps - 1)
        if self.min_labels > most:
            raise ValueError(
                f"min_labels={self.min_labels}, but at most {most} labels can be emitted "
                f"({num_classes} classes, max_steps={max_steps} with END)"
            )

    def adjust(self, logits: Tensor, emitted: Tensor) -> Tensor:
        """Return the logits to choose by; −∞ masks a token.

        `end_bias`, `no_repeat` and `stop_threshold` may be scalar tensors, as in an exported graph.

        Args:
            logits: shape (R, C + 1).
            emitted: which labels a row has emitted, shape (R, C), bool.
        """
        end = logits.shape[1] - 1
        adjusted = logits.float().clone()
        if self.stop_threshold is not None:
            adjusted[:, end] = logit(self.stop_threshold)
        adjusted[:, end] -= self.end_bias
        if self.no_repeat is not False:
            adjusted[:, :end].masked_fill_(emitted & self.no_repeat, -math.inf)
        if not self.min_labels and self.max_labels is None:
            return adjusted
        count = emitted.sum(1)
        too_few = count < self.min_labels  # a repeated label would not help
        adjusted[:, end].masked_fill_(too_few, -math.inf)
        adjusted[:, :end].masked_fill_(emitted & too_few[:, None], -math.inf)
        if self.max_labels is not None:
            adjusted[:, :end].masked_fill_((count >= self.max_labels)[:, None], -math.inf)
        return adjusted


def check_known(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ValueError that names an option of a config's `name` which is not known."""
    known = list(known)
    for option in given:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; choose from {', '.join(known)}")


def logit(probability: float | Tensor) -> float | Tensor:
    """Return the logit of a probability."""
    if isinstance(probability, Tensor):
        return probability.logit()
    return math.log(probability / (1 - probability))
