"""Optimal completion distillation for label sets: sample, then learn the best continuation.

Tsai, Lee, "Order-free Learning Alleviating Exposure Bias in Multi-label Classification", AAAI 2020,
after Sabour, Chan, Norouzi, "Optimal Completion Distillation for Sequence Learning", ICLR 2019.
Letters: B images, C classes, T steps.
"""

from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.alignment.targets import check_finite
from mmorderless.labels.checks import check_labels
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.beams import one_hot
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.losses.base import SequenceLoss
from mmorderless.models.losses.cross_entropy import average_over_steps
from mmorderless.models.losses.remaining_labels import remaining_labels
from mmorderless.models.losses.sampling import RandomDraws, sample_tokens


def completion_targets(tokens: Tensor, labels: Tensor) -> Tensor:
    """Return the optimal policy after each prefix, correct or not.

    Cost of a sequence: 1 per token that is wrong or repeated, plus 1 per label still missing at
    END. A token is optimal when a completion of least cost begins with it: after
    any prefix these are the remaining labels, or END when none remains. The policy is uniform over
    them.

    Args:
        tokens: the emitted tokens, shape (B, T).
        labels: which classes are an image's labels, shape (B, C), bool.

    Returns:
        Probabilities, shape (B, T, C + 1): step t's follow from the tokens before it. Steps after
        the first END have zeros.

    >>> tokens = torch.tensor([[2, 0, 1]])  # of 3 classes; END is 3
    >>> completion_targets(tokens, torch.tensor([[True, True, False]]))
    tensor([[[0.5000, 0.5000, 0.0000, 0.0000],
             [0.5000, 0.5000, 0.0000, 0.0000],
             [0.0000, 1.0000, 0.0000, 0.0000]]])
    """
    remaining = remaining_labels(tokens, labels)  # (B, T, C)
    count = remaining.sum(2, keepdim=True)
    policy = torch.cat([remaining / count.clamp(min=1), (count == 0).float()], 2)
    is_end = (tokens == labels.shape[1]).long()
    ended_before = is_end.cumsum(1) > is_end
    return policy.masked_fill(ended_before[:, :, None], 0)


def policy_cross_entropy(
    logits: Tensor, policy: Tensor, average: str = "local", token_weight: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy to target distributions, averaged over the steps that have one.

    Args:
        logits: shape (B, T, C + 1).
        policy: probabilities, all 0 at steps that do not count, shape (B, T, C + 1).
        average: as in `sequence_cross_entropy`.
        token_weight: weight of each target token, shape (C + 1,). The average is then weighted: a
            step enters the number of steps with the mean weight of its policy.

    Returns:
        A scalar in nats, float32; 0 when all weights of the steps are 0.
    """
    if token_weight is not None:
        policy = policy * token_weight.float()
    entries = -(policy * logits.float().log_softmax(2)).sum(2)  # (B, T)
    return average_over_steps(entries, policy.sum(2), average)


@MODELS.register_module()
class OCDLoss(RandomDraws, SequenceLoss):
    """Cross-entropy between the optimal policy and the prediction on the model's own samples.

    The decoder is fed tokens drawn from its own distribution, until END or the last step. Labels
    that were already drawn are masked in the drawing, not in the loss: its softmax is over all
    tokens. The true labels are never fed back: the model is trained on the prefixes, wrong ones
    included, that occur in prediction (no exposure bias). Each step up to the first END counts:
    `completion_targets`. Decode with `decoding=dict(no_repeat=True)`.

    As in Tsai and Lee's paper and code: the set policy, the masked sampling and decoding, the
    distillation loss (cross-entropy has the gradient of their KL divergence at temperature 0). Left
    out: their second decoder, trained by binary relevance, which has weight 0 in the released
    configs, and decoding with both.

    Args:
        average: see `SequenceLoss`.
        loss_weight: factor on the loss.
        class_weight: see `SequenceLoss`.
    """

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; sampled tokens are fed back."""
        mask = check_labels(labels, decoder.vocabulary.num_classes).mask().to(grid.device)
        generator = self.generator_on(grid.device)
        masked, emitted = Decoding(no_repeat=True), torch.zeros_like(mask)

        def choose(t: int, logits: Tensor, images: Tensor) -> Tensor:
            token = sample_tokens(masked.adjust(logits, emitted[images]), generator)
            emitted[images] |= one_hot(token, emitted.shape[1])
            return token

        logits, tokens, _ = decoder.rollout(grid, max_steps, until_end=True, choose=choose)
        check_finite(logits, logits.shape[1] - 1)
        policy = completion_targets(tokens, mask)
        loss = policy_cross_entropy(logits, policy, self.average, self.token_weight)
        return dict(loss=self.loss_weight * loss)
