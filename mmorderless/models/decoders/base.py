"""What all decoders share: decode step by step, feed back what was emitted, stop at END.

Letters: B images, R rows (the images that are still decoded), L cells of the backbone's map with D
channels, C classes, T steps. Tokens: see `vocabulary`; START is an input only.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor, nn

from mmorderless.alignment.transfer import to_device, to_host
from mmorderless.labels.vocabulary import IGNORE, Vocabulary

Step = Callable[[Tensor, Any], tuple[Tensor, Any, Optional[Tensor]]]
"""From tokens (R,) and a state to logits (R, C + 1), the new state and attention (R, L) or None."""

Choose = Callable[[int, Tensor, Tensor], Tensor]
"""From the step's number t, its logits (R, C + 1) and the images that the rows belong to, (R,), to
the tokens to emit and to feed back, (R,)."""


class Rollout(NamedTuple):
    """Result of decoding T steps.

    Args:
        logits: shape (B, T, C + 1).
        tokens: what each step emitted, by default its arg max, shape (B, T).
        attention: weights over the cells, shape (B, T, L); None unless asked for.
    """

    logits: Tensor
    tokens: Tensor
    attention: Optional[Tensor]


class LabelDecoder(nn.Module):
    """Base of the decoders: from cells (B, L, D) to tokens, one at a time.

    A subclass gives `init_state` and `step`; its state is a (nested) tuple of tensors whose first
    axis is the batch, and None.

    Args:
        num_classes: C.

    Raises:
        ValueError: there is no class.
    """

    attends = False
    """Whether a step has attention weights."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(num_classes)

    def init_state(self, grid: Tensor) -> Any:
        """State before the first step.

        Args:
            grid: cells, shape (B, L, D).
        """
        raise NotImplementedError

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any, Optional[Tensor]]:
        """Decode one step.

        Args:
            token: what the step before emitted (START at first), shape (B,).
            state: state after the step before.

        Returns:
            Logits (B, C + 1), the new state, and the attention weights (B, L) or None.
        """
        raise NotImplementedError

    def stepper(self, num_tokens: int) -> Step:
        """`step`, with the weights arranged once for a whole rollout.

        Args:
            num_tokens: how many tokens will be fed at most.
        """
        return self.step

    def reorder(self, state: Any, rows: Tensor) -> Any:
        """Rows of a state, each of which takes the place of a row of the same image (beam search):
        a decoder may leave out what depends on the image alone.

        Args:
            state: of R rows.
            rows: indices, shape (R,).
        """
        return select(state, rows)

    def check_attends(self) -> None:
        """Raise a ValueError when there is no attention to return."""
        if not self.attends:
            raise ValueError(
                f"there is no attention to return: this {type(self).__name__} does not attend "
                "(for AttentionLSTM, attention_size=None says so)"
            )

    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses of the decoder's own, beside that of the sequence; their names contain "loss".

        Args:
            grid: cells, shape (B, L, D).
            labels: class indices of each image.
        """
        return {}

    # torch.compile would unroll the loop, once for every number of steps.
    @torch.compiler.disable
    def rollout(
        self,
        grid: Tensor,
        num_steps: int,
        until_end: bool = False,
        return_attention: bool = False,
        feed: Optional[Tensor] = None,
        choose: Optional[Choose] = None,
    ) -> Rollout:
        """Decode step by step, feeding back the model's own arg max.

        When an image has emitted END its rollout goes on with END as the input: training needs
        the logits of the steps that were still to come.

        Args:
            grid: cells, shape (B, L, D).
            num_steps: T, the most steps to decode; END counts as one.
            until_end: stop as soon as every image has emitted END (on an accelerator up to three
                steps later), and do not decode those that have when they are the most; their
                tokens are END from there on, their logits 0.
            return_attention: keep the attention weights of every step.
            feed: tokens to feed back instead of the arg max (teacher forcing), shape (B, T); the
                last is not used, and IGNORE stands for END.
            choose: what to emit, and to feed back, instead of the arg max.

        Raises:
            ValueError: `num_steps` is not positive, or attention is asked of a decoder without.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1 (END is a step), got {num_steps}")
        if return_attention:
            self.check_attends()
        if feed is not None:
            feed = torch.where(feed == IGNORE, self.vocabulary.end, feed)
        state = self.init_state(grid)
        step = self.stepper(len(grid) * num_steps)
        token = torch.full((len(grid),), self.vocabulary.start, device=grid.device)  # (B,)
        ended = torch.zeros_like(token, dtype=torch.bool)
        images: Optional[Tensor] = None  # those that are still decoded, (R,); None: all
        everyone = torch.arange(len(grid), device=grid.device) if choose is not None else token
        steps = []
        # Each look at `ended` waits for an accelerator, so that it does not pay at every step.
        look_every = 1 if grid.device.type == "cpu" else 4
        for t in range(num_steps):
            logits, state, attention = step(token, state)
            if choose is None:
                emitted = logits.detach().argmax(1)
            else:
                emitted = choose(t, logits.detach(), everyone if images is None else images)
            steps.append((images, logits, emitted, attention if return_attention else None))
            token = emitted if feed is None else feed[:, t]
            if not until_end:
                continue
            ended = ended | (emitted == self.vocabulary.end)
            if (t + 1) % look_every:
                continue
            going = np.flatnonzero(~to_host(ended))
            if len(going) == 0:
                break
            if 2 * len(going) <= len(ended) and feed is None:  # a copy of their cells pays
                kept = to_device(going, grid.device)
                images = kept if images is None else images[kept]
                ended, token, state = ended[kept], token[kept], select(state, kept)
        return self._collect(steps, len(grid))

    def rollout_counted(
        self, grid: Tensor, lengths: Sequence[int], feed: Optional[Tensor] = None
    ) -> Rollout:
        """Decode for a loss that counts so many steps of each image: the rollout of training.

        Args:
            grid: cells, shape (B, L, D).
            lengths: steps of each image, n_i + 1 each; T is the most.
            feed: as in `rollout`.

        Returns:
            As `rollout`; what steps beyond an image's length hold is left open.
        """
        return self.rollout(grid, max(lengths), feed=feed)

    def _collect(
        self, steps: Sequence[tuple[Optional[Tensor], Tensor, Tensor, Optional[Tensor]]], batch: int
    ) -> Rollout:
        """Join steps that not every image was decoded at: there the token is END, the rest 0."""

        def spread(values: Tensor, images: Optional[Tensor], fill: int = 0) -> Tensor:
            if images is None:
                return values
            full = values.new_full((batch, *values.shape[1:]), fill)
            return full.index_copy(0, images, values)

        end = self.vocabulary.end
        logits = [spread(logits, images) for images, logits, _, _ in steps]
        tokens = [spread(emitted, images, end) for images, _, emitted, _ in steps]
        attention = [spread(cells, images) for images, _, _, cells in steps if cells is not None]
        return Rollout(
            torch.stack(logits, 1),
            torch.stack(tokens, 1),
            torch.stack(attention, 1) if attention else None,
        )


def select(state: Any, rows: Tensor) -> Any:
    """Rows of a state, in the order of their indices.

    Args:
        state: a tensor, None, or a (nested) tuple of these.
        rows: indices, shape (R,).
    """
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state[rows]
    parts = [select(part, rows) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError that names a size that is not positive."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
