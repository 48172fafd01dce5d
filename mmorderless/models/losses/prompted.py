"""Prompted training: some of an image's labels are given, the decoder learns to emit the rest.

A decoder that is fed its own predictions alone never sees a prefix that somebody else chose, and
fails after one. Letters: B images, C classes, T steps, n_i labels of image i, k_i of them given,
N = max n_i.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.labels.checks import CheckedLabels, check_labels
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.base import SequenceLoss
from mmorderless.models.losses.sampling import RandomDraws


class Prompts(NamedTuple):
    """Given and remaining labels of a batch, on the CPU.

    Args:
        tokens: the labels of each image in random order, then END, shape (B, N + 1).
        num_given: k_i, how many of them are given, shape (B,).
        remaining: those that are not, B one-dimensional tensors.
    """

    tokens: Tensor
    num_given: Tensor
    remaining: list[Tensor]


def draw_prompts(labels: CheckedLabels, share: float, generator: torch.Generator) -> Prompts:
    """Draw given labels.

    An image is prompted with the probability `share`, with 1 … n_i of its labels, each number and
    each subset of that number as likely as the others; an image without labels never is.

    Args:
        labels: label sets of B images.
        share: probability in [0, 1].
        generator: a generator on the CPU.
    """
    tokens, counts = torch.from_numpy(labels.labels), torch.from_numpy(labels.num_labels)
    num_images, most = tokens.shape
    draws = torch.rand((num_images, most + 2), generator=generator)
    number = (draws[:, 1] * counts).long().add(1).minimum(counts)
    num_given = torch.where(draws[:, 0] < share, number, 0)
    is_label = torch.arange(most) < counts[:, None]
    order = draws[:, 2:].masked_fill(~is_label, 2).argsort(1)  # END, the padding, stays last
    shuffled = tokens.gather(1, order)
    remaining = [row[k:n] for row, k, n in zip(shuffled, num_given.tolist(), counts.tolist())]
    return Prompts(F.pad(shuffled, (0, 1), value=labels.num_classes), num_given, remaining)


class PromptedLoss(RandomDraws, SequenceLoss):
    """Base of losses that align the decoder's own rollout, which may start with given labels.

    A prompted image is decoded from some of its labels in random order, and then on the decoder's
    own arg max. The loss aligns the labels that remain, and END, to the steps that follow; the
    given labels' steps do not count. Graphed decoders run prompted rollouts without graphs.

    Args:
        average: see `SequenceLoss`.
        loss_weight: factor on the loss.
        class_weight: see `SequenceLoss`.
        prompt: share of the images that are prompted, see `draw_prompts`.

    Raises:
        ValueError: `prompt` is not a share; or as `SequenceLoss`.
    """

    def __init__(
        self,
        average: str = "local",
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
        prompt: float = 0.0,
    ) -> None:
        super().__init__(average, loss_weight, class_weight)
        if not 0 <= prompt <= 1:
            raise ValueError(f"prompt must be a share of the images, 0 to 1, got {prompt}")
        self.prompt = prompt

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; prompted images start with given labels."""
        if not self.prompt:
            return super().forward_train(decoder, grid, labels, max_steps)
        checked = check_labels(labels, decoder.vocabulary.num_classes)
        prompts = draw_prompts(checked, self.prompt, self.generator_on(torch.device("cpu")))
        tokens, num_given = prompts.tokens.to(grid.device), prompts.num_given.to(grid.device)

        def choose(t: int, logits: Tensor, images: Tensor) -> Tensor:
            return torch.where(t < num_given[images], tokens[images, t], logits.argmax(1))

        lengths = [len(label_set) + 1 for label_set in labels]
        logits = decoder.training_rollout(grid, lengths, choose=choose).logits
        # The step after the given labels becomes the first.
        step = torch.arange(logits.shape[1], device=logits.device) + num_given[:, None]
        step = step.clamp(max=logits.shape[1] - 1)  # (B, T)
        logits = logits.gather(1, step[:, :, None].expand_as(logits))
        return dict(loss=self(logits, prompts.remaining))
