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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.sets.sums import find_sets, product, sum_over_classes

NODES = 16
"""Nodes of the quadrature of `SetDistribution.name`, exact up to 31 classes and labels named."""


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
        log_noisy: log u, shape (B, Q, K), of Q kinds of noise; Q = 1 unless labels were named.
        inside: a_kc where U_kc = 1, for each kind of noise, shape (B, Q, C).
        outside: a_kc where U_kc = 0, shape (B, Q, C).
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
        log_noisy = (F.logsigmoid(-share_logit) + log_weights)[:, None]
        inside, outside = (logits + ties)[:, None], (logits - ties)[:, None]
        return cls(sets, log_exact, log_noisy, inside, outside, nothing, nothing)

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

    def name(self, named: Tensor) -> "SetDistribution":
        """Return the distribution of the sets of which k labels, drawn at random, were named.

            P(S | x, N named) ∝ P(S | x) [N ⊂ S] / C(|S|, k)
            1 / C(k + m, k)   = k ∫ t^(k − 1) (1 − t)^m dt from 0 to 1,   m = |S| − k

        A set of many labels is named by these k less often than a small one; `condition` leaves
        this out. (1 − t)^m discounts each label by itself, so that a node t of the quadrature is a
        kind of noise with a_kc + log (1 − t) for the classes that are not named.

        Args:
            named: the labels N, bool, shape (B, C); nothing else may be given.
        """
        known = self.condition(named, torch.zeros_like(named))
        number = named.sum(1)[:, None].to(self.sets.dtype)  # k, (B, 1)
        sizes = torch.maximum(self.sets.sum(1), number)
        ways = torch.lgamma(sizes + 1) - torch.lgamma(number + 1) - torch.lgamma(sizes - number + 1)
        node, weight = (
            torch.from_numpy(values).to(self.sets)
            for values in np.polynomial.legendre.leggauss(NODES)
        )
        node, weight = (node + 1) / 2, weight / 2
        t = torch.where(number > 0, node, 0)  # (B, Q)
        density = torch.where(number > 0, number * t ** (number - 1).clamp(min=0), 1) * weight
        rest = (1 - t).log()[:, :, None]  # (B, Q, 1)
        is_open = ~(known.given | known.excluded)[:, None]

        def kept_back(logits: Tensor) -> Tensor:  # log (1 − σ(a) + σ(a) (1 − t))
            both = torch.logaddexp(F.logsigmoid(-logits), F.logsigmoid(logits) + rest)
            return torch.where(is_open, both, 0)

        log_factors = sum_over_classes(kept_back(known.inside), kept_back(known.outside), self.sets)
        return replace(
            known,
            log_exact=known.log_exact - ways,
            log_noisy=known.log_noisy + density.log()[:, :, None] + log_factors,
            inside=known.inside + rest,
            outside=known.outside + rest,
        )

    @cached_property
    def log_normalizer(self) -> Tensor:
        """Log-probability of what is known, log Σ_k (v_k + u_k), shape (B,)."""
        return torch.logaddexp(self.log_exact.logsumexp(1), self.log_noisy.logsumexp((1, 2)))

    @cached_property
    def exact(self) -> Tensor:
        """P(S is an exact copy of U_k | x, E, X), shape (B, K)."""
        return (self.log_exact - self.log_normalizer[:, None]).exp()

    @cached_property
    def marginals(self) -> Tensor:
        """Probabilities P(c | x, E, X), 1 for given and 0 for excluded classes, shape (B, C)."""
        noisy = (self.log_noisy - self.log_normalizer[:, None, None]).exp()
        inside = product(noisy, self.sets)  # (B, Q, C)
        outside = noisy.sum(2, keepdim=True) - inside
        of_noisy = (inside * self.inside.sigmoid() + outside * self.outside.sigmoid()).sum(1)
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
        noisy = (self.log_noisy + self._log_factors(sets, ~sets)).logsumexp((1, 2))
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
        above = ((gains >= 0) | self.given) & ~self.excluded  # S_θ
        # If S_θ is a known set, it has among these a value that is not smaller.
        values = product(gains, self.sets.T) + beta * self.exact
        values = values.masked_fill(self.log_exact == -math.inf, -math.inf)
        best, index = values.max(1)
        is_known = (best >= torch.where(above, gains, 0).sum(1))[:, None]
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
            now = now._restrict(self.sets.T[token] > 0, emitted, torch.zeros_like(emitted))
        known = self.condition(sets, torch.zeros_like(sets))
        end = known.log_probability(sets).exp().clamp(max=1)
        return EmittedSets(tokens, probabilities, length, end)

    def take(self, rows: Tensor) -> "SetDistribution":
        """Return the distributions of some images, by index or mask."""
        names = [field.name for field in fields(self) if field.name != "sets"]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def _restrict(self, agrees: Tensor, given: Tensor, excluded: Tensor) -> "SetDistribution":
        """Return the distribution given classes that the known sets `agrees` (B, K) agree with."""
        return replace(
            self,
            log_exact=self.log_exact.masked_fill(~agrees, -math.inf),
            log_noisy=self.log_noisy + self._log_factors(given, excluded),
            given=self.given | given,
            excluded=self.excluded | excluded,
        )

    def _log_factors(self, given: Tensor, excluded: Tensor) -> Tensor:
        """Return log P(E, X) of noisy copies without the classes known before, shape (B, Q, K)."""
        is_new = ((given | excluded) & ~(self.given | self.excluded))[:, None]
        sign = (2 * given.to(self.sets.dtype) - 1)[:, None]
        inside, outside = (
            torch.where(is_new, F.logsigmoid(sign * logits), 0)
            for logits in (self.inside, self.outside)
        )
        return sum_over_classes(inside, outside, self.sets)
