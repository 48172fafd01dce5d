"""Options of decoding: END bias, no repeats, number of labels, beam width."""

import math
from dataclasses import dataclass
from typing import Optional

from torch import Tensor


@dataclass(frozen=True)
class Decoding:
    """Options of decoding; as they are, greedy arg max.

    Args:
        beam_width: hypotheses K that are kept of each image; 1 is greedy.
        length_penalty: α; hypotheses are ranked by log p / S^α, S being their tokens with END (Wu
            et al. 2016 have a variant of this). At 0 short sequences have an advantage.
        no_repeat: never emit a label twice.
        min_labels: END and repeats are barred before so many distinct labels.
        max_labels: END is forced after so many distinct labels.
        end_bias: subtracted from END's logit: above 0 it raises recall, below 0 precision. It is
            the sequence model's dial, as the threshold is BCE's.

    Raises:
        ValueError: a number is out of its range.
    """

    beam_width: int = 1
    length_penalty: float = 0.0
    no_repeat: bool = False
    min_labels: int = 0
    max_labels: Optional[int] = None
    end_bias: float = 0.0

    def __post_init__(self) -> None:
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

    def check_fits(self, num_classes: int, max_steps: int) -> None:
        """Raise a ValueError when so many labels can never be emitted.

        Args:
            num_classes: C.
            max_steps: most steps of a rollout; END counts as one.
        """
        most = min(num_classes, max_steps - 1)
        if self.min_labels > most:
            raise ValueError(
                f"min_labels={self.min_labels}, but at most {most} labels can be emitted "
                f"({num_classes} classes, max_steps={max_steps} with END)"
            )

    @property
    def constrains(self) -> bool:
        """Whether any choice can differ from the arg max."""
        return bool(
            self.no_repeat
            or self.min_labels
            or self.max_labels is not None
            or self.end_bias
            or self.beam_width > 1
        )

    def adjust(self, logits: Tensor, emitted: Tensor) -> Tensor:
        """Logits to choose by; −∞ is barred.

        Args:
            logits: shape (R, C + 1).
            emitted: which labels a row has emitted, shape (R, C).
        """
        end = logits.shape[1] - 1
        adjusted = logits.float().clone()
        adjusted[:, end] -= self.end_bias
        if self.no_repeat:
            adjusted[:, :end].masked_fill_(emitted, -math.inf)
        if not self.min_labels and self.max_labels is None:
            return adjusted
        count = emitted.sum(1)
        short = count < self.min_labels  # and a repeat would not help
        adjusted[:, end].masked_fill_(short, -math.inf)
        adjusted[:, :end].masked_fill_(emitted & short[:, None], -math.inf)
        if self.max_labels is not None:
            adjusted[:, :end].masked_fill_((count >= self.max_labels)[:, None], -math.inf)
        return adjusted
