"""Couplings against brute force and closed forms. They return indices, so labels follow by indexing."""

import itertools

import numpy as np
import pytest

from gensim.errors import TrainingError
from gensim.ot.coupling import (
    BridgeCoupling,
    ExactCoupling,
    IndependentCoupling,
    Pairs,
    SinkhornCoupling,
    draw_sources,
)
from gensim.ot.plans import KERNEL_RANGE, exact_plan, sinkhorn_plan, squared_distances
from gensim.ot.unbalanced import PartialCoupling, UnbalancedCoupling

BALANCED = [IndependentCoupling(), ExactCoupling(), SinkhornCoupling(0.05, 2000), BridgeCoupling(0.5, 2000)]


def sources(pairs: Pairs) -> list[int]:
    """The source of every target, of a coupling that gives each target one pair."""
    assert pairs.target.tolist() == list(range(len(pairs.target)))
    return pairs.source.tolist()


def test_exact_coupling_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    z_0, z_1 = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)) + 1
    cost = ((z_0[:, None] - z_1[None]) ** 2).sum(-1)
    best = min(itertools.permutations(range(6)), key=lambda p: sum(cost[p[j], j] for j in range(6)))
    assert sources(ExactCoupling()(z_0, z_1, rng)) == list(best)


def test_exact_coupling_on_a_line_keeps_the_order():
    z_0, z_1 = np.array([[3.0], [1.0], [2.0]]), np.array([[10.0], [30.0], [20.0]])
    assert sources(ExactCoupling()(z_0, z_1, np.random.default_rng(0))) == [1, 0, 2]


def test_unequal_numbers_keep_the_marginals_of_the_plan():
    """One source against two targets must serve both; two sources against one target, each half of the times."""
    rng = np.random.default_rng(0)
    assert sources(ExactCoupling()(np.zeros((1, 2)), np.ones((2, 2)), rng)) == [0, 0]
    draws = [sources(ExactCoupling()(np.zeros((2, 2)), np.ones((1, 2)), rng))[0] for _ in range(400)]
    # Binomial(400, 1/2) has standard deviation 10; 40 is four of them.
    assert abs(sum(draws) - 200) < 40


def test_independent_coupling_uses_every_source_equally_often():
    pairs = IndependentCoupling()(np.zeros((4, 1)), np.zeros((8, 1)), np.random.default_rng(0))
    counts = np.bincount(sources(pairs))
    assert counts.tolist() == [2, 2, 2, 2]


def test_sinkhorn_between_gaussians_has_the_closed_form_cross_covariance():
    """For squared cost and reg = 2 sigma²: ½√(4 s0² s1² + sigma⁴) - sigma²/2 (Janati et al. 2020, theorem 1)."""
    n, s0, s1, sigma = 600, 1.0, 1.5, 0.8
    quantiles = np.sqrt(2) * _erfinv(2 * (np.arange(n) + 0.5) / n - 1)
    x, y = s0 * quantiles[:, None], s1 * quantiles[:, None]
    plan = sinkhorn_plan(squared_distances(x, y), reg=2 * sigma**2, max_iterations=2000)
    covariance = float(x[:, 0] @ plan @ y[:, 0])
    expected = 0.5 * np.sqrt(4 * s0**2 * s1**2 + sigma**4) - sigma**2 / 2
    # 600 quantiles cut the tails of the normal distributions; that costs under 1 % of the covariance.
    assert covariance == pytest.approx(expected, rel=0.01)


def test_sinkhorn_approaches_the_exact_plan_as_reg_falls():
    rng = np.random.default_rng(1)
    cost = squared_distances(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    exact = (exact_plan(cost) * cost).sum()
    loose, tight = ((sinkhorn_plan(cost, reg, 20_000) * cost).sum() for reg in (1.0, 0.01))
    assert exact < tight < loose
    assert tight == pytest.approx(exact, rel=0.02)


def test_sinkhorn_at_a_reg_that_underflows_is_the_fixed_point_in_the_log_domain():
    """The oracle is Sinkhorn's iteration in the log domain, which POT's matrix scaling is not."""
    from scipy.special import logsumexp

    rng = np.random.default_rng(5)
    cost = squared_distances(rng.normal(size=(15, 2)), rng.normal(size=(10, 2)) + np.array([30, 0]))
    reg = 0.5
    assert cost.max() / reg > KERNEL_RANGE, "else this tests the plain case again"
    f, g = np.zeros(15), np.zeros(10)
    for _ in range(2000):
        f = -reg * logsumexp((g - cost) / reg, axis=1, b=1 / 10)
        g = -reg * logsumexp((f[:, None] - cost) / reg, axis=0, b=1 / 15)
    expected = np.exp((f[:, None] + g - cost) / reg) / 150
    # sinkhorn_plan stops when the marginals, of 0.1 and 0.067 each, are within 1e-5; the entries reach 0.067.
    assert np.abs(sinkhorn_plan(cost, reg, 20_000) - expected).max() < 1e-4


def test_an_extreme_cell_does_not_stop_sinkhorn():
    """One source 1,000 standard deviations away: the kernel of its row is 0 in float64."""
    rng = np.random.default_rng(6)
    z_0, z_1 = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    z_0[0] += 1000
    plan = sinkhorn_plan(squared_distances(z_0, z_1), reg=1.0, max_iterations=2000)
    # The tolerance at which a plan is accepted.
    assert np.abs(plan.sum(1) - 1 / 40).sum() + np.abs(plan.sum(0) - 1 / 40).sum() < 1e-2


def test_bridge_pairs_have_the_closed_form_covariance_in_absolute_units():
    """The same closed form as above, with the sigma of the bridge itself; the pairs are a sample of the plan."""
    n, s0, s1, sigma = 500, 1.0, 1.5, 0.8
    quantiles = np.sqrt(2) * _erfinv(2 * (np.arange(n) + 0.5) / n - 1)
    x, y = s0 * quantiles[:, None], s1 * quantiles[:, None]
    rng = np.random.default_rng(7)
    drawn = [BridgeCoupling(sigma, 2000)(x, y, rng) for _ in range(20)]
    covariance = np.mean([(x[p.source, 0] * y[p.target, 0]).mean() for p in drawn])
    expected = 0.5 * np.sqrt(4 * s0**2 * s1**2 + sigma**4) - sigma**2 / 2
    # A product has standard deviation below 2.3; 20 x 500 of them have a mean within 0.023, of which 3 are 6 %.
    assert covariance == pytest.approx(expected, abs=0.07)
    # Relative reg of 2 sigma² would be 5 times as large here (the mean cost is s0² + s1² = 3.25) and miss by 0.4.


@pytest.mark.parametrize("coupling", BALANCED[1:], ids=lambda c: type(c).__name__)
def test_a_shift_of_all_targets_changes_no_balanced_pair(coupling):
    """Squared cost: |x - y - s|² = |x - y|² - 2 s·x + 2 s·y + |s|², and terms of one side change no balanced plan.

    Sinkhorn's own regularisation is relative to the mean cost, which a shift does change: it is given the same
    regularisation in absolute terms.
    """
    rng = np.random.default_rng(8)
    z_0, z_1, shift = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), np.array([0.5, -1.0, 2.0])

    def pairs(targets):
        if isinstance(coupling, SinkhornCoupling):
            unit = squared_distances(z_0, z_1).mean() / squared_distances(z_0, targets).mean()
            return SinkhornCoupling(coupling.reg * unit, 2000)(z_0, targets, np.random.default_rng(0))
        return coupling(z_0, targets, np.random.default_rng(0))

    assert sources(pairs(z_1)) == sources(pairs(z_1 + shift))


@pytest.mark.parametrize(
    "coupling", [PartialCoupling(0.5), UnbalancedCoupling(0.02, 0.01, 2000)], ids=lambda c: type(c).__name__
)
def test_a_shift_changes_who_is_left_out(coupling):
    """Sources at 0 and 10; targets at 0 and 11. Near 0 the pair is cheaper; shifted by -1, near 10 it is."""
    z_0, z_1 = np.repeat([[0.0], [10.0]], 8, axis=0), np.repeat([[0.0], [11.0]], 8, axis=0)

    def low_share(targets):
        return float((z_0[coupling(z_0, targets, np.random.default_rng(0)).source] == 0).mean())

    # Balanced plans would use both halves alike, at a share of ½.
    assert low_share(z_1) > 0.55
    assert low_share(z_1 - 1) < 0.45


def test_sinkhorn_reg_is_in_units_of_the_mean_cost():
    """Scaling all cells changes no pair."""
    rng = np.random.default_rng(2)
    z_0, z_1 = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    coupling = SinkhornCoupling(reg=0.05, max_iterations=2000)
    once = coupling(z_0, z_1, np.random.default_rng(3))
    assert sources(once) == sources(coupling(1000 * z_0, 1000 * z_1, np.random.default_rng(3)))


def test_a_source_is_drawn_from_the_targets_column():
    plan = np.array([[0.5, 0.0], [0.0, 0.5]])
    assert draw_sources(plan, np.random.default_rng(0)).tolist() == [0, 1]
    plan = np.array([[0.0, 0.125], [0.5, 0.375]])
    drawn = np.array([draw_sources(plan, np.random.default_rng(i)) for i in range(400)])
    assert set(drawn[:, 0]) == {1}
    # A quarter of 400 with standard deviation 8.7.
    assert abs((drawn[:, 1] == 0).sum() - 100) < 35


def test_a_plan_that_is_not_finite_says_the_range_of_the_cost():
    cost = np.array([[0.0, np.nan], [1.0, 2.0]])
    with pytest.raises(TrainingError, match="cost ranges"):
        sinkhorn_plan(cost, 0.1, 10)


def test_sinkhorn_that_did_not_converge_is_refused():
    rng = np.random.default_rng(4)
    cost = squared_distances(rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 3)
    with pytest.raises(TrainingError, match=r"raise coupling\.reg"):
        sinkhorn_plan(cost, 1e-3, 2)


def _erfinv(x):
    from scipy.special import erfinv

    return erfinv(x)
