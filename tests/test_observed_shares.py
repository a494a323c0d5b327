"""Shares of counts by hand, and how sure they are."""

import numpy as np
import pytest
from scipy import sparse

from gensim.perturbations.observed_shares import ObservedShares, log_shares, observe_shares
from gensim.types import Condition

CONTROL, A, B = Condition(()), Condition(("A",), (("cell_type", "T"),), 0.5), Condition(("B", "A"))


def test_shares_and_variances_by_hand():
    counts = sparse.csr_matrix(np.array([[0, 1, 0], [60, 2, 0], [0, 3, 0]], dtype=np.float32))
    found = log_shares(counts, np.float32([100, 100, 200]))
    np.testing.assert_allclose(found.log_share, np.log(np.array([60.5, 6.5, 0.5]) / 400), rtol=1e-14)
    # Gene 0 has share 60 / 400, expected 15, 15, 30: squares (225 + 2025 + 900) 3 / 2. The others are as sure as their
    # summed counts allow: 6 (residuals -0.5, 0.5, 0 are far below), and 0.
    np.testing.assert_allclose(found.variance, [3150 * 1.5 / 60.5**2, 1 / 6.5, 2.0], rtol=1e-12)


def test_one_cell_has_the_variance_of_counting():
    found = log_shares(sparse.csr_matrix(np.float32([[4, 0]])), np.float32([10]))
    np.testing.assert_allclose(found.variance, [1 / 4.5, 2.0], rtol=1e-12)


def test_the_variance_is_the_spread_over_repeated_experiments():
    rng = np.random.default_rng(0)
    share, theta = np.array([0.002, 0.01, 0.05, 0.2, 0.01]), np.array([0.5, 0.5, 2.0, 10.0, np.inf])
    logs, variances = [], []
    for _ in range(600):
        library_size = np.round(rng.lognormal(7, 0.6, 200)).astype(np.float32)
        mu = share * library_size[:, None]
        mu[:, :4] *= rng.gamma(theta[:4], size=(200, 4)) / theta[:4]
        found = log_shares(sparse.csr_matrix(rng.poisson(mu).astype(np.float32)), library_size)
        logs.append(found.log_share)
        variances.append(found.variance)
    spread = np.var(logs, axis=0, ddof=1)
    # A variance of 600 draws has a standard error of 6 %. Where cells scatter no more than counts do, the larger of
    # counting and of the estimate is above the spread by a few per cent more.
    np.testing.assert_allclose(np.mean(variances, axis=0), spread, rtol=0.2)
    np.testing.assert_array_less(np.abs(np.mean(logs, axis=0) - np.log(share)), 5 * np.sqrt(spread / 600) + spread)


def screen() -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray]:
    """Counts, library sizes and conditions of 40 cells, and the rows that may be looked at: none of them of B."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(3.0, (40, 6)).astype(np.float32)
    condition_of = np.arange(40) % 3
    rows = rng.permutation(np.flatnonzero(condition_of != 1)[:20])
    return sparse.csr_matrix(counts), counts.sum(axis=1) + 5, condition_of, rows


def test_shares_are_observed_where_rows_say_and_nowhere_else():
    counts, library_size, condition_of, rows = screen()
    found = observe_shares(counts, library_size, condition_of, [CONTROL, B, A], rows)
    assert found.conditions == (CONTROL, A)
    for k, condition in ((0, CONTROL), (2, A)):
        here = np.intersect1d(rows, np.flatnonzero(condition_of == k))
        x, sizes = counts.toarray()[here].astype(np.float64), library_size[here]
        share = x.sum(axis=0) / sizes.sum()
        smoothed, missed = x.sum(axis=0) + 0.5, x - sizes[:, None] * share
        squares = np.square(missed).sum(axis=0) * len(here) / (len(here) - 1)
        np.testing.assert_allclose(found.of(condition).log_share, np.log(smoothed / sizes.sum()), rtol=1e-12)
        np.testing.assert_allclose(
            found.of(condition).variance, np.maximum(squares / smoothed**2, 1 / smoothed), rtol=1e-9
        )
    other = counts.toarray()
    other[np.setdiff1d(np.arange(40), rows)] = 1000
    again = observe_shares(sparse.csr_matrix(other), library_size, condition_of, [CONTROL, B, A], rows)
    np.testing.assert_array_equal(again.log_share, found.log_share)


def test_observed_shares_come_back_from_their_file(tmp_path):
    rng = np.random.default_rng(6)
    saved = ObservedShares((B, CONTROL, A), np.array([5, 9, 7]), rng.normal(size=(3, 4)), rng.random((3, 4)))
    saved.save(tmp_path / "shares.safetensors")
    loaded = ObservedShares.load(tmp_path / "shares.safetensors")
    assert loaded.conditions == saved.conditions
    for k, condition in enumerate(saved.conditions):
        np.testing.assert_array_equal(loaded.of(condition).log_share, saved.log_share[k])
        np.testing.assert_array_equal(loaded.of(condition).variance, saved.variance[k])


def test_few_cells_are_taken_to_scatter_as_controls_do():
    """Two cells that agree by chance are no surer than two control cells; many cells are believed."""
    control, rare, common = Condition(()), Condition(("rare",)), Condition(("common",))
    own, of_controls = 1e-6, 0.004
    variance = np.array([[of_controls], [own], [own]])
    observed = ObservedShares((control, rare, common), np.array([100, 2, 100_000]), np.zeros((3, 1)), variance)
    # As many control cells would have 0.004 x 100 / 2 = 0.2; one of 21 degrees of freedom is the pair's own.
    assert observed.variance_of(rare)[0] == pytest.approx((20 * 0.2 + 1e-6) / 21)
    assert observed.variance_of(common)[0] == pytest.approx(1e-6, rel=0.01)
    assert observed.variance_of(control)[0] == pytest.approx(of_controls)
    alone = ObservedShares((rare,), np.array([2]), np.zeros((1, 1)), variance[1:2])
    assert alone.variance_of(rare)[0] == own


def test_effects_are_differences_from_the_controls_of_the_context():
    """A doubles gene 0, of which thousands were counted; B has no controls, and so no effect."""
    rng = np.random.default_rng(0)
    mu = np.array([[4.0, 5.0, 3.0]]) * np.array([[1, 1, 1], [2, 1, 1], [3, 3, 3]])[np.repeat([0, 1, 2], 1000)]
    counts, sizes = rng.poisson(mu).astype(np.float32), np.full(3000, 100, np.float32)
    conditions = (Condition((), A.context), A, B)
    observed = observe_shares(sparse.csr_matrix(counts), sizes, np.repeat([0, 1, 2], 1000), conditions, np.arange(3000))
    effects = observed.effects()
    assert effects.conditions == (A,)
    np.testing.assert_allclose(effects.delta, [np.log([2, 1, 1])], atol=0.05)
    assert effects.plain is not None
    assert effects.variance is not None
    np.testing.assert_allclose(effects.plain[0], observed.log_share[1] - observed.log_share[0], rtol=1e-6)
    # Counting alone: 1 / counts of either side, in units of what is left of the squared length without it.
    noise = (1 / (1000 * mu[0]) + 1 / (1000 * mu[1000])).sum()
    np.testing.assert_allclose(effects.variance, noise / np.log(2) ** 2, rtol=0.2)
    assert effects.noise is not None
    np.testing.assert_allclose(effects.noise[0], [(1 / (1000 * mu[k])).sum() for k in (1000, 0)], rtol=0.2)


def test_the_same_in_every_context_is_at_the_same_dose():
    t, b = (("cell_type", "T"),), (("cell_type", "B"),)
    conditions = (
        Condition((), t), Condition((), b), Condition(("A",), t, 1.0), Condition(("A",), b, 10.0),
        Condition(("A",), b, 1.0), Condition(("A", "B"), b, 1.0), Condition(("A",), t, 1.0, 6.0),
        Condition(("A",), (("cell_type", "NK"),), 1.0),
    )  # fmt: skip
    observed = ObservedShares(conditions, np.ones(8, np.int64), np.zeros((8, 3)), np.ones((8, 3)))
    assert observed.in_every_context(conditions[4]) == (conditions[2], conditions[4])
    assert observed.in_every_context(conditions[3]) == (conditions[3],)
    assert observed.in_every_context(conditions[6]) == (conditions[6],)
    # Controls are no perturbation, and a context without them steadies no variances.
    assert observed.in_every_context(conditions[0]) == (conditions[0],)
    assert observed.in_every_context(conditions[7]) == (conditions[7],)
