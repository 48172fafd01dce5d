"""The distribution over label sets equals enumeration of all sets."""

import math

import pytest
import torch
from torch.testing import assert_close

from mmorderless.sets import SetDistribution, leave_one_out

C, B = 6, 4
ALL = torch.tensor([[int(code >> c & 1) for c in range(C)] for code in range(2**C)]).double()
CLOSE = dict(rtol=1e-6, atol=1e-9)
NOTHING = torch.zeros(B, C, dtype=torch.bool)


def drawn(seed, dtype=torch.float64, scale=2.0):
    """Random U (K, C), n (K,), scores (B, K), γ, s (B, C), τ (C,), ρ."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return scale * torch.randn(*shape, generator=generator).to(dtype)

    number = int(torch.randint(1, 20, (), generator=generator))
    sets = ALL[torch.randperm(2**C, generator=generator)[:number]].to(dtype)
    counts = torch.randint(1, 5, (number,), generator=generator)
    return sets, counts, randn(B, C) @ sets.T, randn(()), randn(B, C), randn(C), randn(())


def mixture(seed, **options):
    sets, counts, scores, gamma, *noise, rho = drawn(seed, **options)
    return SetDistribution.mixture(sets, scores + gamma * counts.log(), *noise, rho)


def enumerated(sets, set_logits, logits, ties, rho):
    """Return P(S | x) of all sets from the definition, shape (B, 2^C)."""
    pi, w = rho.sigmoid(), set_logits.softmax(1)
    p = (logits[:, None] + ties * (2 * sets - 1)).sigmoid()[:, :, None]  # (B, K, 1, C)
    noisy = (p**ALL * (1 - p) ** (1 - ALL)).prod(3)  # (B, K, 2^C)
    exact = (sets[:, None] == ALL).all(2).double()  # (K, 2^C)
    return (w[:, :, None] * (pi * exact + (1 - pi) * noisy)).sum(1)


def probabilities(distribution):
    """Return P(S | x, E, X) of all sets, shape (B, 2^C)."""
    return torch.stack(
        [distribution.log_probability(s.bool().expand(B, C)).exp() for s in ALL], dim=1
    )


def evidence(seed):
    """Random given and excluded classes."""
    kind = torch.randint(0, 4, (B, C), generator=torch.Generator().manual_seed(seed))
    return kind == 1, kind == 2


def given_evidence(p, given, excluded):
    """Return probabilities (B, 2^C) divided by that of the evidence."""
    has = ALL.bool()
    fits = ~((given[:, None] & ~has) | (excluded[:, None] & has)).any(2)
    return p * fits / (p * fits).sum(1, keepdim=True)


@pytest.mark.parametrize("seed", range(5))
def test_likelihood_marginals_and_conditionals_equal_enumeration(seed):
    sets, counts, scores, gamma, *noise = drawn(seed)
    set_logits = scores + gamma * counts.log()
    p = enumerated(sets, set_logits, *noise)
    distribution = SetDistribution.mixture(sets, set_logits, *noise)
    assert_close(p.sum(1), torch.ones(B).double(), **CLOSE)
    for given, excluded in ((NOTHING, NOTHING), evidence(seed), evidence(seed + 100)):
        expected = given_evidence(p, given, excluded)
        known = distribution.condition(given, excluded)
        assert_close(probabilities(known), expected, **CLOSE)
        assert_close(known.marginals, expected @ ALL, **CLOSE)
        assert (known.marginals[given] == 1).all()
        assert (known.marginals[excluded] == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_known_may_come_in_parts_and_twice(seed):
    given, excluded = evidence(seed)
    whole = mixture(seed).condition(given, excluded)
    parts = mixture(seed).condition(given, NOTHING).condition(given, excluded)
    assert_close(parts.marginals, whole.marginals, **CLOSE)
    assert_close(parts.log_normalizer, whole.log_normalizer, **CLOSE)
    assert_close(probabilities(parts), probabilities(whole), **CLOSE)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beta", [0.0, 0.5, 3.0])
def test_the_chosen_set_is_the_best_candidate(seed, beta):
    for given, excluded in ((NOTHING, NOTHING), evidence(seed)):
        distribution = mixture(seed).condition(given, excluded)
        marginals, exact = distribution.marginals, distribution.exact
        for theta in (0.2, 0.4, 0.7):
            chosen = distribution.choose(theta, beta)
            for b in range(B):
                above = (marginals[b] >= theta).double()
                values = {tuple(above.tolist()): above @ (marginals[b] - theta)}
                for s, probability in zip(distribution.sets, exact[b]):
                    if (s[given[b]] == 1).all() and (s[excluded[b]] == 0).all():
                        values[tuple(s.tolist())] = s @ (marginals[b] - theta) + beta * probability
                mine = tuple(chosen[b].double().tolist())
                assert values[mine] == pytest.approx(max(values.values()).item(), abs=1e-9)


def test_without_the_term_for_the_whole_set_the_choice_is_a_threshold():
    distribution = mixture(0)
    assert torch.equal(distribution.choose(0.4, 0.0), distribution.marginals >= 0.4)
    zero = torch.zeros(1, 1)  # the marginal, 1 / 4, is the threshold; the known set is empty
    tied = SetDistribution.mixture(zero, zero, zero, zero[0], zero[0, 0])
    assert tied.choose(0.25, 0.0).all()


@pytest.mark.parametrize("seed", range(5))
def test_steps_multiply_to_the_probability_of_the_set(seed):
    for given, excluded in ((NOTHING, NOTHING), evidence(seed)):
        distribution = mixture(seed).condition(given, excluded)
        sets = distribution.choose(0.3, 0.5)
        emitted = distribution.emit(sets)
        for b in range(B):
            length = int(emitted.length[b])
            tokens = emitted.tokens[b, :length].tolist()
            assert sorted(tokens) == sets[b].nonzero()[:, 0].tolist()
            first = int(given[b].sum())
            assert set(tokens[:first]) == set(given[b].nonzero()[:, 0].tolist())
            assert (emitted.probabilities[b, :first] == 1).all()
            known = given[b].clone()
            for token, probability in zip(tokens[first:], emitted.probabilities[b, first:]):
                at_step = distribution.condition(known.expand(B, C), NOTHING).marginals[b]
                left = [c for c in tokens if not known[c]]
                assert token == max(left, key=lambda c: at_step[c])
                assert_close(probability, at_step[token], **CLOSE)
                known[token] = True
        steps = torch.arange(emitted.tokens.shape[1]) < emitted.length[:, None]
        chain = torch.where(steps, emitted.probabilities, 1).prod(1) * emitted.end
        assert_close(chain, distribution.log_probability(sets).exp(), **CLOSE)


def test_a_batch_whose_sets_are_empty_emits_nothing():
    emitted = mixture(0).emit(NOTHING)
    assert emitted.tokens.shape == (B, 0)
    assert_close(emitted.end, mixture(0).log_probability(NOTHING).exp(), **CLOSE)


@pytest.mark.parametrize("seed", range(5))
def test_leave_one_out_equals_refitting_without_the_image(seed):
    sets, counts, scores, gamma, *noise, rho = drawn(seed)
    labels = torch.stack([sets[0], sets[-1], ALL[5], ALL[-1]])
    found = leave_one_out(sets, counts, scores, gamma, *noise, rho, labels)
    for b in range(B):
        own = (sets == labels[b]).all(1)
        without = counts - own.long()
        kept, share = without > 0, rho
        if not kept.any():  # noisy copies of the only set there is
            kept, share = own, rho - 1e9
        set_logits = (scores + gamma * without.clamp(min=1).log())[:, kept]
        p = enumerated(sets[kept], set_logits, *noise, share)[b, ALL.eq(labels[b]).all(1)][0]
        p = p * (1 if share is rho else 1 - rho.sigmoid())
        assert_close(found[b].exp(), p, **CLOSE)


def test_a_set_that_is_not_left_has_no_weight_however_improbable_the_rest():
    zero, sets = torch.tensor(0.0).double(), torch.eye(2).double()
    scores, logits = torch.tensor([[0.0, -3e4]]).double(), torch.tensor([[-3e4, 3e4]]).double()
    for number, expected in ((2, -60002), (1, -59998)):  # a copy of the other, or the only, set
        found = leave_one_out(
            *(sets[:number], torch.ones(number), scores[:, :number], zero),
            *(logits, torch.ones(2), zero, sets[:1]),
        )
        assert found.item() == pytest.approx(math.log(0.5) + expected, abs=1e-6)


def test_leave_one_out_has_a_gradient_for_every_argument():
    sets, counts, *arguments = drawn(1)
    arguments = [argument.requires_grad_() for argument in arguments]
    labels = torch.stack([sets[0], sets[-1], ALL[5], ALL[-1]])

    def likelihood(*values):
        return leave_one_out(sets, counts, *values, labels)

    torch.autograd.gradcheck(likelihood, arguments)
    for gradient in torch.autograd.grad(likelihood(*arguments).sum(), arguments):
        assert gradient.isfinite().all()
        assert gradient.any()


def test_soft_labels_are_no_known_set():
    sets, counts, scores, gamma, logits, ties, rho = drawn(2)
    soft = 0.7 * sets[:1].expand(B, C) + 0.15
    found = leave_one_out(sets, counts, scores, gamma, logits, ties, rho, soft)
    p = (logits[:, None] + ties * (2 * sets - 1)).sigmoid()
    noisy = (soft[:, None] * p.log() + (1 - soft[:, None]) * (1 - p).log()).sum(2).exp()
    w = (scores + gamma * counts.log()).softmax(1)
    assert_close(found.exp(), (1 - rho.sigmoid()) * (w * noisy).sum(1), **CLOSE)


@pytest.mark.parametrize("scale", [2.0, 300.0])
def test_single_precision_stays_finite_with_improbable_evidence(scale):
    for seed in range(5):
        distribution = mixture(seed, dtype=torch.float32, scale=scale)
        sets, counts, *arguments = drawn(seed, dtype=torch.float32, scale=scale)
        arguments = [argument.requires_grad_() for argument in arguments]
        loss = leave_one_out(sets, counts, *arguments, ALL[:B].float())
        gradients = torch.autograd.grad(loss.sum(), arguments)
        assert all(value.isfinite().all() for value in (loss, *gradients))
        # No known set agrees with what is least probable.
        least = distribution.marginals < 0.5
        known = distribution.condition(least, ~least)
        assert torch.equal(known.marginals, least.float())
        for given in (least, NOTHING):
            part = distribution.condition(given, NOTHING)
            chosen = part.choose(0.4, 0.5)
            emitted = part.emit(chosen)
            for value in (part.marginals, emitted.probabilities, emitted.end):
                assert ((value >= 0) & (value <= 1)).all()
            is_first = torch.arange(emitted.tokens.shape[1]) < given.sum(1, keepdim=True)
            assert given.gather(1, emitted.tokens)[is_first].all()
            assert not part.log_probability(chosen).isnan().any()
            assert (chosen | ~given).all()


def test_single_precision_is_close_to_double_under_autocast_too():
    close = dict(rtol=1e-4, atol=1e-6, check_dtype=False)
    for seed in range(5):
        arguments, single = drawn(seed, torch.float32), mixture(seed, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            known = single.condition(*evidence(seed))
            found = known.marginals, known.choose(0.4, 0.5), known.log_probability(ALL[:B].bool())
            likelihood = leave_one_out(*arguments, ALL[:B].float())
        assert found[0].dtype == found[2].dtype == likelihood.dtype == torch.float32
        exact = mixture(seed).condition(*evidence(seed))
        assert_close(found[0], exact.marginals, **close)
        assert torch.equal(found[1], exact.choose(0.4, 0.5))
        assert_close(found[2], exact.log_probability(ALL[:B].bool()), **close)
        assert_close(likelihood, leave_one_out(*drawn(seed), ALL[:B]), **close)


def test_an_unlikely_step_is_not_lost():
    """The end of a set is exact where a step's probability is 0 in single precision."""
    sets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    logits = torch.tensor([[-200.0, -300.0]])
    zero = torch.tensor(0.0)
    distribution = SetDistribution.mixture(sets, torch.zeros(1, 2), logits, zero.expand(2), zero)
    both = torch.ones(1, 2, dtype=torch.bool)
    emitted = distribution.emit(both)
    assert emitted.tokens.tolist() == [[0, 1]]
    assert emitted.probabilities.tolist() == [[0.25, 0.0]]
    assert emitted.end.tolist() == [1.0]
    assert distribution.log_probability(both).item() == pytest.approx(math.log(0.5) - 500)
