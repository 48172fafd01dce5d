"""The token indices, in one place: class c is token c, then END, then START."""

from dataclasses import dataclass

IGNORE = -100
"""Target of a step that is not counted, the index that PyTorch's cross-entropy ignores."""

MASKED = -(2.0**13)
"""Logit of a token that cannot be emitted: finite, exact in half precision, probability 0."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens of a decoder that emits labels one by one until END.

    Args:
        num_classes: number of classes C.

    Raises:
        ValueError: there is no class.
    """

    num_classes: int

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")

    @property
    def end(self) -> int:
        """Token that ends the set, C; the last logit."""
        return self.num_classes

    @property
    def start(self) -> int:
        """Token that starts the rollout, C + 1; an input only, never predicted."""
        return self.num_classes + 1

    @property
    def num_outputs(self) -> int:
        """Logits of a step: the classes and END."""
        return self.num_classes + 1

    @property
    def num_inputs(self) -> int:
        """Embeddings: the classes, END and START."""
        return self.num_classes + 2
