"""The base class of decoders: roll out step by step, feed back what was emitted, stop at END.

Letters: B images, R rows (the images that are still decoded), L cells of the backbone's map with D
channels, C classes, T steps. Tokens: see `labels.vocabulary`; START is an input only.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmorderless.labels.vocabulary import IGNORE, Vocabulary
from mmorderless.models.decoders.graphed import GraphedPasses
from mmorderless.models.decoders.rows import select, weights_of

Choose = Callable[[int, Tensor, Tensor], Tensor]
"""Takes step t, logits (R, C + 1) and each row's image index (R,); returns the tokens (R,) to emit
and feed back."""


class Rollout(NamedTuple):
    """Result of decoding T steps.

    Args:
        logits: shape (B, T, C + 1).
        tokens: the emitted tokens, shape (B, T).
        attention: weights over the cells, shape (B, T, L); None unless asked for.
    """

    logits: Tensor
    tokens: Tensor
    attention: Tensor | None


class LabelDecoder(nn.Module):
    """Base class of decoders: from cells (B, L, D) to tokens, one at a time.

    A subclass implements `init_state` and `step`. A state is a (possibly nested) tuple whose leaves
    are batch-first tensors, or anything else that all rows share.

    Args:
        num_classes: C.
        graphed: run training rollouts as CUDA graphs where `choose` is not given.

    Raises:
        ValueError: there is no class.
    """

    attends = False
    """Whether a step returns attention weights."""

    masks_emitted = False
    """Whether a label that was emitted has the logit MASKED from then on."""

    sequence_weight = 1.0
    """Factor on the loss of the sequence; `auxiliary_loss` has a factor of 1."""

    score = "max"
    """The head's `score` where none is given; `own` are the decoder's `class_scores`."""

    def __init__(self, num_classes: int, graphed: bool = False) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(num_classes)
        self.graphs = GraphedPasses() if graphed else None

    def encode(self, grid: Tensor) -> Tensor:
        """Return what a batch's rollouts and losses share, a tensor (B, …); here the cells.

        Every method that takes cells takes the result in place of them.
        """
        return grid

    def class_scores(self, grid: Tensor) -> Tensor:
        """Return scores of the classes in [0, 1] that do not depend on a rollout, shape (B, C)."""
        raise NotImplementedError

    def init_state(self, grid: Tensor) -> Any:
        """Return the state before the first step.

        Args:
            grid: cells, shape (B, L, D).
        """
        raise NotImplementedError

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any, Tensor | None]:
        """Decode one step.

        Args:
            token: token emitted at the previous step (START at first), shape (R,).
            state: state after the previous step.

        Returns:
            Logits (R, C + 1), the new state, and the attention weights: (R, L), or those of every
            class (R, C, L), of which the emitted label's count; or None.
        """
        raise NotImplementedError

    def reorder(self, state: Any, rows: Tensor) -> Any:
        """Select rows of a state, each of which replaces a row of the same image (beam search).

        A decoder may skip the parts that depend on the image alone.

        Args:
            state: state of R rows.
            rows: indices, shape (R,).
        """
        return select(state, rows)

    def check_attends(self) -> None:
        """Raise a ValueError when there is no attention to return."""
        if not self.attends:
            raise ValueError(
                f"there is no attention to return: this {type(self).__name__} does not attend "
                "(AttentionLSTM and AttentionGRU attend unless attention_size=None)"
            )

    def training_grid(self, grid: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """Return the cells (B, L, D) that a training batch starts from; labels may replace them."""
        return grid

    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the decoder's own losses, which are added to that of the sequence.

        Args:
            grid: cells, shape (B, L, D).
            labels: class indices of each image.

        Returns:
            Scalars by name; the names contain "loss".
        """
        return {}

    def rollout(
        self,
        grid: Tensor,
        num_steps: int,
        until_end: bool = False,
        return_attention: bool = False,
        choose: Choose | None = None,
    ) -> Rollout:
        """Decode step by step, feeding back the emitted token.

        After END the rollout of an image continues with END as its input.

        Args:
            grid: cells, shape (B, L, D).
            num_steps: T, the maximum number of steps, including END.
            until_end: stop once every image has emitted END (up to three steps later on an
                accelerator). When at least half of the rows have ended, they are dropped; from then
                on their tokens are END and their logits 0.
            return_attention: return the attention weights of every step.
            choose: chooses the tokens to emit; None takes the arg max.

        Raises:
            ValueError: `num_steps` is not positive, or the decoder has no attention to return.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1 (END is a step), got {num_steps}")
        if return_attention:
            self.check_attends()
        batch, end = grid.shape[0], self.vocabulary.end
        state = self.init_state(grid)
        token = torch.full((batch,), self.vocabulary.start, device=grid.device)
        images = torch.arange(batch, device=grid.device)  # of the rows, (R,)
        ended = torch.zeros_like(token, dtype=torch.bool)  # (R,)
        # Reading `ended` synchronizes with the device.
        sync_every = 1 if grid.device.type == "cpu" else 4

        def spread(values: Tensor, fill: int = 0) -> Tensor:
            """Put rows (R, …) at their images, (B, …)."""
            if values.shape[0] == batch:
                return values
            return values.new_full((batch, *values.shape[1:]), fill).index_copy(0, images, values)

        all_logits, all_tokens, all_weights = [], [], []
        for t in range(num_steps):
            logits, state, weights = self.step(token, state)
            scores = logits.detach()
            token = scores.argmax(1) if choose is None else choose(t, scores, images)
            all_logits.append(spread(logits))
            all_tokens.append(spread(token, end))
            if return_attention and weights is not None:
                all_weights.append(spread(weights_of(token, weights)))
            ended = ended | (token == end)
            if until_end and (t + 1) % sync_every == 0:
                active = (~ended).nonzero()[:, 0]
                if len(active) == 0:
                    break
                if 2 * len(active) <= len(ended):  # copying their cells pays off
                    images, ended, token = images[active], ended[active], token[active]
                    state = select(state, active)
        attention = torch.stack(all_weights, 1) if all_weights else None
        return Rollout(torch.stack(all_logits, 1), torch.stack(all_tokens, 1), attention)

    def training_rollout(
        self,
        grid: Tensor,
        lengths: Sequence[int],
        feed: Tensor | None = None,
        choose: Choose | None = None,
    ) -> Rollout:
        """Decode each image for the steps that a loss counts.

        Images are sorted by length, so that those still decoded at a step are the first rows.

        Args:
            grid: cells, shape (B, L, D).
            lengths: number of steps of each image; T is the largest.
            feed: tokens to feed back instead of the emitted ones (teacher forcing), shape (B, T);
                the last is not used, and IGNORE stands for END.
            choose: chooses the tokens to emit; None takes the arg max.

        Returns:
            Steps beyond an image's length have logits 0 and the token END; no attention.
        """
        if self.graphs is not None and choose is None and self.graphs.serves(self, grid):
            return self.fixed_shape_rollout(grid, lengths, feed)
        batch, num_steps, end = len(grid), max(lengths), self.vocabulary.end
        order = sorted(range(batch), key=lambda image: -lengths[image])
        active = [sum(length > t for length in lengths) for t in range(num_steps)]  # R_t
        steps = [image * num_steps + t for t, rows in enumerate(active) for image in order[:rows]]
        images, index = _to_device(order, grid.device), _to_device(steps, grid.device)
        if feed is not None:
            feed = torch.where(feed == IGNORE, end, feed)[images]
        state = self.init_state(grid.index_select(0, images))
        token = torch.full((batch,), self.vocabulary.start, device=grid.device)
        all_logits, all_tokens = [], []
        for t, rows in enumerate(active):
            if rows < len(token):
                token, state = token[:rows], select(state, slice(rows))
            logits, state, _ = self.step(token, state)
            scores = logits.detach()
            emitted = scores.argmax(1) if choose is None else choose(t, scores, images[:rows])
            token = emitted if feed is None else feed[:rows, t]
            all_logits.append(logits)
            all_tokens.append(emitted)
        packed = torch.cat(all_logits)  # (sum of the lengths, C + 1)
        logits = packed.new_zeros(batch * num_steps, packed.shape[1]).index_copy(0, index, packed)
        tokens = token.new_full((batch * num_steps,), end)
        tokens = tokens.index_copy(0, index, torch.cat(all_tokens))
        shape = (batch, num_steps)
        return Rollout(logits.unflatten(0, shape), tokens.unflatten(0, shape), None)

    def fixed_shape_rollout(
        self, grid: Tensor, lengths: Sequence[int], feed: Tensor | None = None
    ) -> Rollout:
        """Decode all images for as many steps as a CUDA graph has, if `graphed`.

        Arguments and result are those of `training_rollout`.
        """
        num_steps, end = max(lengths), self.vocabulary.end
        steps = 4  # then 5, 6, 8, 10, 13, 17, 22, 29, ...: few graphs, at most a third too long
        while steps < num_steps:
            steps += steps // 3
        inputs = [grid]
        if feed is not None:
            feed = torch.where(feed == IGNORE, end, feed)[:, :num_steps]
            inputs.append(F.pad(feed, (0, steps - feed.shape[1]), value=end))
        call = self if self.graphs is None else partial(self.graphs, self)
        logits = call(*inputs, num_steps=steps)[:, :num_steps]
        counted = [t < length for length in lengths for t in range(num_steps)]
        beyond = ~_to_device(counted, grid.device).unflatten(0, (-1, num_steps))
        logits = logits.masked_fill(beyond[:, :, None], 0)
        return Rollout(logits, logits.detach().argmax(2).masked_fill(beyond, end), None)

    def forward(self, grid: Tensor, feed: Tensor | None = None, *, num_steps: int) -> Tensor:
        """Return the logits of a rollout whose shapes do not depend on data, (B, T, C + 1).

        Args:
            grid: cells, shape (B, L, D).
            feed: tokens to feed back instead of the emitted ones, shape (B, T).
            num_steps: T.
        """
        choose = None if feed is None else lambda t, logits, images: feed[:, t]
        return self.rollout(grid, num_steps, choose=choose).logits


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError that names a size that is not positive."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def _to_device(values: Sequence[int], device: torch.device) -> Tensor:
    """Copy integers to a device; to CUDA from pinned memory, which does not wait for it."""
    tensor = torch.tensor(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
