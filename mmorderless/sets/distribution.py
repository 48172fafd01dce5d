"""A distribution over label sets that may be conditioned on known labels.

Letters: B images x, K known sets, C classes. U (K, C) are the known sets as 0 and 1, s (B, C) the
logits of independent labels.

    P(S | x)      = π P_known(S | x) + (1 − π) P_free(S | x)
    P_free(S | x) = Π_c σ(s_c)^S_c (1 − σ(s_c))^(1 − S_c)

With v_k = π P_known(U_k) and u = 1 − π at first, knowing that the classes E are labels and X are
not leaves a distribution of the same form:

    v_k ← v_k [E ⊂ U_k] [X ∩ U_k = ∅]
    u   ← u Π_{c ∈ E} σ(s_c) Π_{c ∈ X} (1 − σ(s_c))
    P(c | x, E, X) = (Σ_k v_k U_kc + u σ(s_c)) / (Σ_k v_k + u)

Weights are kept as logarithms. u is never 0, so that no evidence is impossible.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = -1e3
"""The least log P_known of a training image's own set, in nats; its exponential is 0."""


class EmittedSets(NamedTuple):
    """Label sets, emitted label by label.

    Args:
        tokens: the label of each step, 0 after the last, shape (B, T).
        probabilities: P(label | x, labels before), shape (B, T).
        length: number of labels, shape (B,).
        end: P(no further label | x, all these labels), shape (B,).
    """

    tokens: Tensor
    probabilities: Tensor
    length: Tensor
    end: Tensor


@dataclass(frozen=True, eq=False)
class SetDistribution:
    """P(S | x, E, X) of a batch.

    Attributes:
        sets: U, distinct rows, floating point, shape (K, C); fastest if stored by columns.
        log_known: log v, −∞ for sets that contradict what is known, shape (B, K).
        log_free: log u, shape (B,).
        logits: s, shape (B, C).
        given: which classes are known to be labels (E), bool, shape (B, C).
        excluded: which classes are known not to be labels (X), bool, shape (B, C).
    """

    sets: Tensor
    log_known: Tensor
    log_free: Tensor
    logits: Tensor
    given: Tensor
    excluded: Tensor

    @classmethod
    def mixture(
        cls, sets: Tensor, known_logits: Tensor, logits: Tensor, share_logit: Tensor
    ) -> "SetDistribution":
        """Build the distribution without evidence.

        Args:
            sets: U, shape (K, C).
            known_logits: P_known is their softmax, shape (B, K).
            logits: s, shape (B, C).
            share_logit: ρ, where π = σ(ρ), a scalar.
        """
        nothing = torch.zeros_like(logits, dtype=torch.bool)
        log_known = F.logsigmoid(share_logit) + known_logits.log_softmax(1)
        log_free = F.logsigmoid(-share_logit).expand(logits.shape[0])
        return cls(sets, log_known, log_free, logits, nothing, nothing)

    def condition(self, given: Tensor, excluded: Tensor) -> "SetDistribution":
        """Return the distribution of the sets that contain and lack some classes.

        Args:
            given: which classes are labels, bool, shape (B, C).
            excluded: which classes are not, bool, shape (B, C). No class may be both, or contradict
                what is known already.
        """
        signed = given.to(self.sets.dtype) - excluded.to(self.sets.dtype)
        agrees = product(signed, self.sets.T) == given.sum(1)[:, None]  # (B, K)
        return self._restrict(agrees, given, excluded)

    @cached_property
    def log_normalizer(self) -> Tensor:
        """Log-probability of what is known, log(Σ_k v_k + u), shape (B,)."""
        return torch.logaddexp(self.log_known.logsumexp(1), self.log_free)

    @cached_property
    def weights(self) -> Tensor:
        """Normalized weights: v and u over their sum, shape (B, K + 1)."""
        return torch.cat([self.log_known, self.log_free[:, None]], 1).softmax(1)

    @cached_property
    def marginals(self) -> Tensor:
        """Probabilities P(c | x, E, X), 1 for given and 0 for excluded classes, shape (B, C)."""
        known = product(self.weights[:, :-1], self.sets)
        rounded = (known + self.weights[:, -1:] * self.logits.sigmoid()).clamp(0, 1)
        return rounded.masked_fill(self.given, 1).masked_fill(self.excluded, 0)

    def log_probability(self, sets: Tensor) -> Tensor:
        """Return log P(S | x, E, X) of a set for each image, shape (B,).

        Args:
            sets: bool, shape (B, C).
        """
        index, is_known = find_sets(sets.to(self.sets.dtype), self.sets)
        known = self.log_known.gather(1, index[:, None])[:, 0].masked_fill(~is_known, -math.inf)
        contradicts = ((self.given & ~sets) | (self.excluded & sets)).any(1)
        free = self._log_free_of(sets).masked_fill(contradicts, -math.inf)
        return torch.logaddexp(known, free) - self.log_normalizer

    def choose(self, theta: float, beta: float) -> Tensor:
        """Return the set of least Bayes risk for micro-F1 and exact match, bool, shape (B, C).

        It maximizes Σ_{c ∈ S} (m_c − θ) + β P(S) over the known sets that agree with what is known
        and S_θ = {c: m_c ≥ θ}, where m are the marginals. S_θ counts as unknown, P(S_θ) = u P_free:
        if it is known, the same set among the known ones has the larger value.

        Args:
            theta: θ, in (0, 1); a threshold on the marginals if β = 0.
            beta: β, how much the probability of the whole set counts.
        """
        gains = self.marginals - theta
        above = ((gains >= 0) | self.given) & ~self.excluded  # S_θ
        log_free = self._log_free_of(above) - self.log_normalizer
        value_above = torch.where(above, gains, 0).sum(1) + beta * log_free.exp()
        # log (u P_free(U_k)), shape (B, K): that of the empty set, and s of each label.
        logits = self.logits.masked_fill(self.given | self.excluded, 0)
        log_free = self._log_free_of(torch.zeros_like(above)) - self.log_normalizer
        log_free = product(logits, self.sets.T) + log_free[:, None]
        values = product(gains, self.sets.T) + beta * (self.weights[:, :-1] + log_free.exp())
        value, index = values.masked_fill(self.log_known == -math.inf, -math.inf).max(1)
        is_known = (value >= value_above)[:, None]
        return (is_known & (self.sets[index] > 0)) | (~is_known & above)

    def emit(self, sets: Tensor, num_steps: int | None = None) -> EmittedSets:
        """Emit a set label by label, always the label with the highest conditional probability.

        What is given comes first. The step probabilities multiply to the probability that all of S
        are labels, and with `end` to P(S | x, E, X).

        Args:
            sets: S with all given and no excluded classes, bool, shape (B, C).
            num_steps: T, which then does not depend on the sets; None for the longest's length.
                Steps after an image's last are undefined.
        """
        length = sets.sum(1)
        steps = num_steps
        if steps is None:
            steps = int(length.max()) if len(length) else 0
        tokens = length.new_zeros(sets.shape[0], steps)
        probabilities = self.logits.new_zeros(sets.shape[0], steps)
        rows, now, left = torch.arange(sets.shape[0], device=sets.device), self, sets
        for step in range(steps):
            going = length[rows] > step
            if num_steps is None and not going.all():
                rows, left, now = rows[going], left[going], now.take(going)
            first = left & self.given[rows]
            token = torch.where(left, now.marginals + first, -1).argmax(1)  # (R,)
            tokens[rows, step] = token
            probabilities[rows, step] = now.marginals.gather(1, token[:, None])[:, 0]
            emitted = F.one_hot(token, left.shape[1]).bool()
            left = left & ~emitted
            now = now._restrict(self.sets.T[token] > 0, emitted, torch.zeros_like(emitted))
        known = self.condition(sets, torch.zeros_like(sets))
        end = known.log_probability(sets).exp().clamp(max=1)
        return EmittedSets(tokens, probabilities, length, end)

    def take(self, rows: Tensor) -> "SetDistribution":
        """Return the distributions of some images, by index or mask."""
        names = ("log_known", "log_free", "logits", "given", "excluded")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def _restrict(self, agrees: Tensor, given: Tensor, excluded: Tensor) -> "SetDistribution":
        """Return the distribution given classes that the known sets `agrees` (B, K) agree with."""
        log_factors = F.logsigmoid(torch.where(given, self.logits, -self.logits))
        is_new = (given | excluded) & ~(self.given | self.excluded)
        return replace(
            self,
            log_known=self.log_known.masked_fill(~agrees, -math.inf),
            log_free=self.log_free + torch.where(is_new, log_factors, 0).sum(1),
            given=self.given | given,
            excluded=self.excluded | excluded,
        )

    def _log_free_of(self, sets: Tensor) -> Tensor:
        """Return log (u P_free(S)) of a set for each image, without what is known, shape (B,)."""
        log_factors = F.logsigmoid(torch.where(sets, self.logits, -self.logits))
        return self.log_free + log_factors.masked_fill(self.given | self.excluded, 0).sum(1)


def leave_one_out(
    sets: Tensor,
    counts: Tensor,
    scores: Tensor,
    count_weight: Tensor,
    logits: Tensor,
    share_logit: Tensor,
    labels: Tensor,
) -> Tensor:
    """Return log P(Y | x) of training images whose own set counts one image less, shape (B,).

        log P_known(k | x) = log softmax_k(score_k + γ log n_k),   n_k − 1 for the image's own set

    Where that leaves 0, the known part gives the set nothing and P_free alone explains it; without
    this π would go to 1. The gradient is that of all arguments.

    Args:
        sets: U, shape (K, C).
        counts: n, how many training images have each set, shape (K,).
        scores: λ z·U_k, shape (B, K).
        count_weight: γ, a scalar.
        logits: s, shape (B, C).
        share_logit: ρ, where π = σ(ρ), a scalar.
        labels: Y as 0 and 1, shape (B, C); soft labels are no known set.
    """
    labels = labels.to(sets.dtype)
    index, is_known = find_sets(labels, sets)
    others = counts[index] - 1  # (B,)
    is_left = is_known & (others > 0)
    column = index[:, None]
    known_logits = scores + count_weight * counts.to(scores.dtype).log()
    own = scores.gather(1, column)[:, 0] + count_weight * others.clamp(min=1).to(scores.dtype).log()
    own = torch.where(is_left, own, -1e4)
    own = torch.where(is_known, own, known_logits.gather(1, column)[:, 0])
    log_total = known_logits.scatter(1, column, own[:, None]).logsumexp(1)
    log_known = torch.where(is_left, own - log_total, FLOOR).clamp(min=FLOOR)
    log_free = -F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)
    return torch.logaddexp(
        F.logsigmoid(share_logit) + log_known, F.logsigmoid(-share_logit) + log_free
    )


def find_sets(sets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Find each set among the known ones.

    Args:
        sets: 0 and 1, floating point, shape (B, C); anything else is not found.
        known: U, shape (K, C).

    Returns:
        Indices of the known sets, any one for a set that is not found, and which are found; both of
        shape (B,).
    """
    # S and U_k differ in |S| + |U_k| − 2 |S ∩ U_k| classes.
    common = product(sets, known.T)  # (B, K)
    same = (common == known.sum(1)) & (common == sets.sum(1, keepdim=True))
    same &= (sets * sets == sets).all(1, keepdim=True)
    is_known, index = same.int().max(1)
    return index, is_known > 0


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices in their own precision, under autocast too."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right
