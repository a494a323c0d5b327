"""Couplings against brute force and closed forms. They return indices, so labels follow by indexing."""

import itertools

import numpy as np
import pytest

from gensim.errors import TrainingError
from gensim.ot.coupling import ExactCoupling, IndependentCoupling, SinkhornCoupling, draw_sources
from gensim.ot.plans import exact_plan, sinkhorn_plan, squared_distances


def test_exact_coupling_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    z_0, z_1 = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)) + 1
    cost = ((z_0[:, None] - z_1[None]) ** 2).sum(-1)
    best = min(itertools.permutations(range(6)), key=lambda p: sum(cost[p[j], j] for j in range(6)))
    assert ExactCoupling()(z_0, z_1, rng).tolist() == list(best)


def test_exact_coupling_on_a_line_keeps_the_order():
    z_0, z_1 = np.array([[3.0], [1.0], [2.0]]), np.array([[10.0], [30.0], [20.0]])
    assert ExactCoupling()(z_0, z_1, np.random.default_rng(0)).tolist() == [1, 0, 2]


def test_unequal_numbers_keep_the_marginals_of_the_plan():
    """One source against two targets must serve both; two sources against one target, each half of the times."""
    rng = np.random.default_rng(0)
    assert ExactCoupling()(np.zeros((1, 2)), np.ones((2, 2)), rng).tolist() == [0, 0]
    draws = [int(ExactCoupling()(np.zeros((2, 2)), np.ones((1, 2)), rng)[0]) for _ in range(400)]
    # Binomial(400, 1/2) has standard deviation 10; 40 is four of them.
    assert abs(sum(draws) - 200) < 40


def test_independent_coupling_uses_every_source_equally_often():
    counts = np.bincount(IndependentCoupling()(np.zeros((4, 1)), np.zeros((8, 1)), np.random.default_rng(0)))
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


def test_sinkhorn_reg_is_in_units_of_the_mean_cost():
    """Scaling all cells changes no pair."""
    rng = np.random.default_rng(2)
    z_0, z_1 = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    coupling = SinkhornCoupling(reg=0.05, max_iterations=2000)
    once = coupling(z_0, z_1, np.random.default_rng(3))
    assert once.tolist() == coupling(1000 * z_0, 1000 * z_1, np.random.default_rng(3)).tolist()


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
