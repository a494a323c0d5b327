"""Couplings that leave cells out, against brute force, log-domain iterations and what the literature promises."""

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp

from gensim.errors import TrainingError
from gensim.ot.plans import KERNEL_RANGE, sinkhorn_plan, squared_distances
from gensim.ot.unbalanced import PartialCoupling, UnbalancedCoupling, draw_pairs, partial_plan, unbalanced_plan


def test_partial_plan_is_the_best_of_all_partial_matchings():
    rng = np.random.default_rng(0)
    n, moved = 5, 3
    cost = squared_distances(rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 1)
    best = min(
        sum(cost[i, j] for i, j in zip(rows, columns, strict=True))
        for rows in itertools.combinations(range(n), moved)
        for columns in itertools.permutations(range(n), moved)
    )
    plan = partial_plan(cost, moved / n)
    assert plan.sum() == pytest.approx(moved / n)
    assert (plan * cost).sum() == pytest.approx(best / n)
    assert max(plan.sum(0).max(), plan.sum(1).max()) <= 1 / n + 1e-12


def test_partial_transport_of_everything_is_exact_transport():
    """Sums of 1/n that round below 1 must not make mass = 1 infeasible."""
    rng = np.random.default_rng(1)
    for n, m in [(49, 49), (30, 50)]:
        cost = squared_distances(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)))
        plan = partial_plan(cost, 1.0)
        assert plan.sum(1) == pytest.approx(np.full(n, 1 / n))
        assert plan.sum(0) == pytest.approx(np.full(m, 1 / m))


def test_partial_coupling_leaves_odd_cells_out():
    """A tenth of the targets has no counterpart; at mass 0.9 none of them is in a pair, and every other one is."""
    rng = np.random.default_rng(2)
    z_0, z_1 = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    z_1[:5] += 100
    pairs = PartialCoupling(0.9)(z_0, z_1, rng)
    assert len(pairs.source) == len(pairs.target) == 50
    assert sorted(set(pairs.target.tolist())) == list(range(5, 50))


@pytest.mark.parametrize("mass", [0.0, 1.5])
def test_a_mass_that_is_no_share_is_refused(mass):
    with pytest.raises(ValueError, match="share of the cells"):
        PartialCoupling(mass)


@pytest.mark.parametrize(("reg", "reg_marginal"), [(0.5, 2.0), (0.5, 0.05), (0.5, 500.0), (0.002, 2.0)])
def test_unbalanced_plan_satisfies_the_conditions_of_optimality(reg, reg_marginal):
    """log(P/ab) = (f + g - cost)/reg with f = -rho log(P1/a), g = -rho log(Pᵀ1/b) (Chizat et al. 2018, section 3)."""
    rng = np.random.default_rng(3)
    n, m = 12, 9
    cost = squared_distances(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)))
    assert (cost.max() / reg > KERNEL_RANGE) == (reg == 0.002), "one case is to take the log domain"
    plan = unbalanced_plan(cost, reg, reg_marginal, 20_000)
    f = -reg_marginal * np.log(plan.sum(1) * n)
    g = -reg_marginal * np.log(plan.sum(0) * m)
    expected = np.exp((f[:, None] + g - cost) / reg) / (n * m)
    # Potentials are settled to 1e-6 reg, so marginals to 1e-6; rho/reg (up to 1,000) carries their error into f.
    np.testing.assert_allclose(plan, expected, rtol=5e-3, atol=1e-12)


def test_few_iterations_are_enough_where_marginals_are_dear():
    """Without the shift between the potentials, a round gains a factor rho/(rho + reg) only: 0.999 here."""
    rng = np.random.default_rng(4)
    cost = squared_distances(rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 3)
    plan = unbalanced_plan(cost, reg=2.0, reg_marginal=2000.0, max_iterations=150)
    # To first order the marginals miss by potential/rho; potentials are of the size of the cost, around 22.
    np.testing.assert_allclose(plan, sinkhorn_plan(cost, 2.0, 2000), rtol=0.05)


@pytest.mark.parametrize("reg", [0.05, 0.0005])
def test_cells_far_from_all_others_are_left_out_and_stop_nothing(reg):
    """Ten standard deviations away on either side, as far as any reg of use: the plan is finite and avoids them."""
    rng = np.random.default_rng(5)
    z_0, z_1 = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    z_0[:3] += 1000
    z_1[:3] -= 1000
    pairs = UnbalancedCoupling(reg, reg_marginal=0.1, max_iterations=5000)(z_0, z_1, rng)
    assert pairs.source.min() >= 3
    assert pairs.target.min() >= 3


def test_unbalanced_transport_follows_a_change_of_proportions():
    """Two clusters, ¾ : ¼ in the sources and ¼ : ¾ in the targets: pairs keep to their cluster, where OT crosses."""
    rng = np.random.default_rng(6)
    z_0 = rng.normal(size=(80, 2)) + np.repeat([[0, 0], [30, 0]], [60, 20], axis=0)
    z_1 = rng.normal(size=(80, 2)) + np.repeat([[0, 0], [30, 0]], [20, 60], axis=0)

    def crossing(reg_marginal):
        pairs = UnbalancedCoupling(0.02, reg_marginal, 5000)(z_0, z_1, np.random.default_rng(0))
        return float(((pairs.source < 60) != (pairs.target < 20)).mean())

    assert crossing(0.1) == 0
    assert crossing(100.0) == pytest.approx(0.5, abs=0.05)  # as balanced transport must; the rest is not kept exactly


def test_reg_and_reg_marginal_are_in_units_of_the_mean_cost():
    rng = np.random.default_rng(7)
    z_0, z_1 = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 1
    coupling = UnbalancedCoupling(0.05, 0.5, 2000)
    once, large = (coupling(s * z_0, s * z_1, np.random.default_rng(1)) for s in (1, 1000))
    assert once.source.tolist() == large.source.tolist()
    assert once.target.tolist() == large.target.tolist()


def test_cells_that_are_all_alike_are_paired_evenly():
    pairs = UnbalancedCoupling(0.05, 1.0, 100)(np.ones((4, 2)), np.ones((8, 2)), np.random.default_rng(8))
    assert pairs.target.tolist() == list(range(8))


def test_pairs_are_drawn_from_the_joint_plan_with_little_variance():
    """Systematic sampling: the count of every entry is its share of the mass times n, rounded up or down, always."""
    rng = np.random.default_rng(9)
    plan = rng.random((5, 4)) * (rng.random((5, 4)) < 0.6)
    expected = 40 * plan / plan.sum()
    total = np.zeros_like(plan)
    for seed in range(300):
        counts = np.zeros_like(plan)
        np.add.at(counts, draw_pairs(plan, 40, np.random.default_rng(seed)), 1)
        assert counts.sum() == 40
        assert (np.abs(counts - expected) < 1).all()
        assert (np.abs(counts.sum(0) - expected.sum(0)) < 1).all()
        total += counts
    # A count that is rounded at random has a standard deviation of at most ½; the mean of 300 of them, of 0.029.
    np.testing.assert_allclose(total / 300, expected, atol=0.12)


def test_a_plan_that_moves_nothing_or_never_settles_is_refused():
    cost = np.full((3, 3), 1000.0)
    with pytest.raises(TrainingError, match=r"Raise coupling\.reg_marginal"):
        unbalanced_plan(cost, reg=0.1, reg_marginal=0.1, max_iterations=100)
    rng = np.random.default_rng(10)
    cost = squared_distances(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    with pytest.raises(TrainingError, match=r"cost ranges from .* Raise coupling\.reg or"):
        unbalanced_plan(cost, reg=0.01, reg_marginal=1.0, max_iterations=2)
    cost[0, 0] = np.inf
    with pytest.raises(TrainingError, match="cost ranges"):
        unbalanced_plan(cost, 0.1, 1.0, 100)
    with pytest.raises(TrainingError, match="cost ranges"):
        partial_plan(cost, 0.5)


def test_unbalanced_plan_is_the_fixed_point_of_the_plain_iteration():
    """Chizat et al. 2018, algorithm 1 with no shift and in the log domain: slower, to the same plan."""
    rng = np.random.default_rng(11)
    cost = squared_distances(rng.normal(size=(10, 2)), rng.normal(size=(14, 2)))
    reg, rho = 0.3, 1.0
    f, g = np.zeros(10), np.zeros(14)
    for _ in range(500):
        f = -rho * reg / (rho + reg) * logsumexp((g - cost) / reg, axis=1, b=1 / 14)
        g = -rho * reg / (rho + reg) * logsumexp((f[:, None] - cost) / reg, axis=0, b=1 / 10)
    expected = np.exp((f[:, None] + g - cost) / reg) / 140
    # Potentials are settled to 1e-6 reg a round; with a contraction above ½ the rest is a few times that.
    np.testing.assert_allclose(unbalanced_plan(cost, reg, rho, 5000), expected, rtol=1e-4)
