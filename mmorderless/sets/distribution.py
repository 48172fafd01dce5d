"""A distribution over label sets that may be conditioned on known labels.

Letters: B images x, K known sets, C classes. U (K, C) are the known sets as 0 and 1, w (B, K) their
weights with Σ_k w_k = 1. A label set is an exact or a noisy copy of a known one:

    P(S | x) = Σ_k w_k (π [S = U_k] + (1 − π) Π_c σ(a_kc)^S_c (1 − σ(a_kc))^(1 − S_c))
    a_kc     = s_c + τ_c (2 U_kc − 1)

With v_k = π w_k and u_k = (1 − π) w_k at first, knowing that the classes E are labels and X are not
leaves a distribution of the same form:

    v_k ← v_k [E ⊂ U_k] [X ∩ U_k = ∅]
    u_k ← u_k Π_{c ∈ E} σ(a_kc) Π_{c ∈ X} (1 − σ(a_kc))
    P(c | x, E, X) = Σ_k (v_k U_kc + u_k σ(a_kc)) / Σ_k (v_k + u_k)

Weights are kept as logarithms. No evidence is impossible, since a noisy copy may be any set. A
class has two values of a_kc, s + τ and s − τ, so that all sums over k are products with U.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.sets.sums import find_sets, product, sum_over_classes


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
        log_exact: log v, −∞ for sets that contradict what is known, shape (B, K).
        log_noisy: log u, shape (B, K).
        inside: a_kc where U_kc = 1, shape (B, C).
        outside: a_kc where U_kc = 0, shape (B, C).
        given: which classes are known to be labels (E), bool, shape (B, C).
        excluded: which classes are known not to be labels (X), bool, shape (B, C).
    """

    sets: Tensor
    log_exact: Tensor
    log_noisy: Tensor
    inside: Tensor
    outside: Tensor
    given: Tensor
    excluded: Tensor

    @classmethod
    def mixture(
        cls, sets: Tensor, set_logits: Tensor, logits: Tensor, ties: Tensor, share_logit: Tensor
    ) -> "SetDistribution":
        """Build the distribution without evidence.

        Args:
            sets: U, shape (K, C).
            set_logits: w is their softmax, shape (B, K).
            logits: s, shape (B, C).
            ties: τ, how closely a noisy copy follows the known set, shape (C,).
            share_logit: ρ, where π = σ(ρ), a scalar.
        """
        nothing = torch.zeros_like(logits, dtype=torch.bool)
        log_weights = set_logits.log_softmax(1)
        log_exact = F.logsigmoid(share_logit) + log_weights
        log_noisy = F.logsigmoid(-share_logit) + log_weights
        return cls(sets, log_exact, log_noisy, logits + ties, logits - ties, nothing, nothing)

    def condition(self, given: Tensor, excluded: Tensor) -> "SetDistribution":
        """Return the distribution of the sets that contain and lack some classes.

        Args:
            given: which classes are labels, bool, shape (B, C).
            excluded: which classes are not, bool, shape (B, C). No class may be both, or contradict
                what is known already.
        """
        signed = given.to(self.sets.dtype) - excluded.to(self.sets.dtype)
        agrees = product(signed, self.sets.T) == given.sum(1)[:, None]  # (B, K)
        return replace(
            self,
            log_exact=self.log_exact.masked_fill(~agrees, -math.inf),
            log_noisy=self.log_noisy + self._log_factors(given, excluded),
            given=self.given | given,
            excluded=self.excluded | excluded,
        )

    @cached_property
    def log_normalizer(self) -> Tensor:
        """Log-probability of what is known, log Σ_k (v_k + u_k), shape (B,)."""
        return torch.logaddexp(self.log_exact.logsumexp(1), self.log_noisy.logsumexp(1))

    @cached_property
    def exact(self) -> Tensor:
        """P(S is an exact copy of U_k | x, E, X), shape (B, K)."""
        return (self.log_exact - self.log_normalizer[:, None]).exp()

    @cached_property
    def marginals(self) -> Tensor:
        """Probabilities P(c | x, E, X), 1 for given and 0 for excluded classes, shape (B, C)."""
        noisy = (self.log_noisy - self.log_normalizer[:, None]).exp()
        inside = product(noisy, self.sets)  # (B, C)
        outside = noisy.sum(1, keepdim=True) - inside
        of_noisy = inside * self.inside.sigmoid() + outside * self.outside.sigmoid()
        rounded = (product(self.exact, self.sets) + of_noisy).clamp(0, 1)
        return rounded.masked_fill(self.given, 1).masked_fill(self.excluded, 0)

    def log_probability(self, sets: Tensor) -> Tensor:
        """Return log P(S | x, E, X) of a set for each image, shape (B,).

        Args:
            sets: bool, shape (B, C).
        """
        index, is_known = find_sets(sets.to(self.sets.dtype), self.sets)
        exact = self.log_exact.gather(1, index[:, None])[:, 0].masked_fill(~is_known, -math.inf)
        contradicts = ((self.given & ~sets) | (self.excluded & sets)).any(1)
        noisy = (self.log_noisy + self._log_factors(sets, ~sets)).logsumexp(1)
        noisy = noisy.masked_fill(contradicts, -math.inf)
        return torch.logaddexp(exact, noisy) - self.log_normalizer

    def choose(self, theta: float, beta: float) -> Tensor:
        """Return the set of least risk for micro-F1 and for being an exact copy, bool, (B, C).

        It maximizes Σ_{c ∈ S} (m_c − θ) + β P(S is an exact copy | x, E, X) over the known sets
        that agree with what is known and S_θ = {c: m_c ≥ θ}, where m are the marginals.

        Args:
            theta: θ, in (0, 1); a threshold on the marginals if β = 0.
            beta: β, how much the whole set counts.
        """
        gains = self.marginals - theta
        above = gains >= 0  # S_θ
        # If S_θ is a known set, its value with β P is among these. A set that contradicts what is
        # known is below S_θ: P is 0, and it lacks a class with m = 1 or has one with m = 0.
        values = product(gains, self.sets.T) + beta * self.exact
        best, index = values.max(1)
        is_known = (best > torch.where(above, gains, 0).sum(1))[:, None]
        return torch.where(is_known, self.sets[index], above) > 0

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
        probabilities = self.inside.new_zeros(sets.shape[0], steps)
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
            now = now.condition(emitted, torch.zeros_like(emitted))
        known = self.condition(sets, torch.zeros_like(sets))
        end = known.log_probability(sets).exp().clamp(max=1)
        return EmittedSets(tokens, probabilities, length, end)

    def take(self, rows: Tensor) -> "SetDistribution":
        """Return the distributions of some images, by index or mask."""
        names = [field.name for field in fields(self) if field.name != "sets"]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def _log_factors(self, given: Tensor, excluded: Tensor) -> Tensor:
        """Return log P(E, X) of noisy copies without the classes known before, shape (B, K)."""
        is_new = (given | excluded) & ~(self.given | self.excluded)
        sign = 2 * given.to(self.sets.dtype) - 1
        inside, outside = (
            torch.where(is_new, F.logsigmoid(sign * logits), 0)
            for logits in (self.inside, self.outside)
        )
        return sum_over_classes(inside, outside, self.sets)
