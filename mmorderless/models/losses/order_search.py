"""Order search: the label order is sampled from the model during training.

Vinyals, Bengio, Kudlur, "Order Matters: Sequence to sequence for sets", ICLR 2016, section 5.2.
Letters: B images, R rows, C classes, T steps, n_i labels of image i.
"""

import math
from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.alignment.targets import check_finite
from mmorderless.labels.checks import check_labels
from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.base import SequenceLoss
from mmorderless.models.losses.sampling import RandomDraws, sample_tokens


@MODELS.register_module()
class OrderSearchLoss(RandomDraws, SequenceLoss):
    """Cross-entropy of an order of the labels that is drawn from the model itself.

    At step t the next label is drawn from the model's distribution, restricted to the image's
    remaining labels and normalized over them; END follows the last. The drawn label is the step's
    target and is fed back (teacher forcing on the sampled order): one rollout instead of n_i!, the
    paper's ancestral sampling.

    Normalizing each step separately differs from drawing a whole order in proportion to its
    probability: for 3 labels and random logits of standard deviation 2 by a total variation of 0.4
    on average. Which of them the paper means is not stated.

    For the first batches the order is drawn uniformly; the paper does so for 1,000 steps (section
    5.2). It tried the search on 5-gram language modeling only. Its decoders are not image
    classifiers'; this loss trains any `LabelDecoder`.

    Training batches (not updates) are counted in a buffer that checkpoints contain: a run that
    resumes, or loads another run's weights, continues the count. All processes count alike.

    Args:
        uniform_steps: training batches during which the order is uniform.
        average: see `SequenceLoss`.
        loss_weight: factor on the loss.
        class_weight: see `SequenceLoss`.

    Raises:
        ValueError: `uniform_steps` is negative.
    """

    def __init__(
        self,
        uniform_steps: int = 1000,
        average: str = "local",
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(average, loss_weight, class_weight)
        if uniform_steps < 0:
            raise ValueError(f"uniform_steps must not be negative, got {uniform_steps}")
        self.uniform_steps = uniform_steps
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.long))

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; the true labels are fed back in the sampled order."""
        end = decoder.vocabulary.end
        longest = max(len(label_set) for label_set in labels)
        mask = check_labels(labels, end).mask().to(grid.device)  # (B, C)
        remaining = torch.cat([mask, torch.zeros_like(mask[:, :1])], 1)  # (B, C + 1)
        uniform = self.batches_seen < self.uniform_steps  # stays on the device
        generator = self.generator_on(grid.device)

        def choose(t: int, logits: Tensor, images: Tensor) -> Tensor:
            allowed = remaining[images]  # a copy
            allowed[:, end] = ~allowed.any(1)
            scores = torch.where(uniform, 0.0, logits.float())
            token = sample_tokens(scores.masked_fill(~allowed, -math.inf), generator)
            remaining[images, token] = False
            return token

        lengths = [len(label_set) + 1 for label_set in labels]
        logits, tokens, _ = decoder.training_rollout(grid, lengths, choose=choose)
        if self.training:
            self.batches_seen += 1
        check_finite(logits, longest)
        step = torch.arange(longest + 1, device=grid.device)
        tokens = torch.where(step <= mask.sum(1, keepdim=True), tokens, IGNORE)
        return dict(loss=self.loss_of_tokens(logits, tokens))
