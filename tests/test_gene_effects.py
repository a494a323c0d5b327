"""Effects on single genes: planted ones shrunk as Bayes would; shares of counts by hand, and how sure they are."""

import numpy as np
import pytest
from scipy import optimize, sparse
from scipy.special import softmax

from gensim.perturbations.gene_effects import (
    NULL_WEIGHT,
    WIDTHS,
    ObservedShares,
    log_shares,
    observe_shares,
    shrink_adaptively,
)
from gensim.types import Condition

CONTROL, A, B = Condition(()), Condition(("A",), (("cell_type", "T"),), 0.5), Condition(("B", "A"))


def measured(n_genes: int, seed: int, moved: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects N(0, 1) of the share `moved` of the genes, their measurements, and the variances of those."""
    rng = np.random.default_rng(seed)
    variance = 10 ** rng.uniform(-3, -0.5, n_genes)
    effect = np.where(rng.random(n_genes) < moved, rng.normal(size=n_genes), 0.0)
    return effect, effect + np.sqrt(variance) * rng.normal(size=n_genes), variance


def posterior_mean(d: np.ndarray, variance: np.ndarray, moved: float) -> np.ndarray:
    """Under the planted mixture, by summing over a grid of effects."""
    effects, width = np.linspace(-8, 8, 3201, retstep=True)
    density = np.exp(-(effects**2) / 2) / np.sqrt(2 * np.pi) * width * moved
    joint = np.exp(-((d[:, None] - effects) ** 2) / 2 / variance[:, None]) * density
    return joint @ effects / (joint.sum(axis=1) + (1 - moved) * np.exp(-(d**2) / 2 / variance))


def test_where_nothing_happens_all_is_shrunk_to_nearly_nothing():
    kept = []
    for seed in range(8):
        _, d, variance = measured(300, seed, moved=0.0)
        kept.append((shrink_adaptively(d, variance) ** 2).mean() / (d**2).mean())
    # Now and then chance looks like a few small effects, which keeps 2 % of the squares of one screen in eight.
    assert max(kept) < 0.05
    assert np.median(kept) < 1e-3


def test_large_effects_that_were_measured_well_are_kept():
    _, d, variance = measured(500, 0, moved=0.0)
    large = np.array([1.5, -2.0, 3.0, -0.8, 1.0])
    d[:5], variance[:5] = large, 1e-3
    np.testing.assert_allclose(shrink_adaptively(d, variance)[:5], large, rtol=0.02)


def test_the_same_measurement_is_kept_less_where_it_is_less_sure():
    _, d, variance = measured(500, 1, moved=0.2)
    d[:3], variance[:3] = 1.0, [1e-3, 0.1, 1.0]
    kept = shrink_adaptively(d, variance)[:3]
    assert kept[0] > 0.95
    # Ten standard errors, three, and one: the mixture is a fifth of effects, so the last is most likely chance.
    assert kept[0] > kept[1] > 2 * kept[2] > 0


def test_no_effect_stays_none_and_signs_do_not_matter():
    _, d, variance = measured(200, 2, moved=0.3)
    d[7] = 0.0
    shrunk = shrink_adaptively(d, variance)
    assert shrunk[7] == 0.0
    np.testing.assert_array_equal(shrink_adaptively(-d, variance), -shrunk)
    assert (np.sign(shrunk) == np.sign(d)).all()
    np.testing.assert_array_less(np.abs(shrunk), np.abs(d) + 1e-300)


@pytest.mark.parametrize("moved", [0.02, 0.1, 0.5])
def test_planted_effects_are_estimated_nearly_as_well_as_by_one_who_knows_the_mixture(moved):
    effect, d, variance = measured(1500, 3, moved)
    shrunk, best = shrink_adaptively(d, variance), posterior_mean(d, variance, moved)

    def error(estimate):
        return ((estimate - effect) ** 2).mean()

    assert error(shrunk) < 0.9 * error(d)
    assert error(shrunk) < 0.9 * error(np.zeros_like(d))
    # Weights from 1,500 genes cost 1 % of the error or less; 5 % leaves room for another platform's rounding only.
    assert error(shrunk) < 1.05 * error(best)
    assert np.sqrt(((shrunk - best) ** 2).mean()) < 0.15 * np.sqrt(error(best))


def test_the_weights_are_the_likeliest_given_belief_in_no_effect():
    """Against weights found by a general optimiser of the penalised likelihood."""
    _, d, variance = measured(60, 4, moved=0.2)
    total = variance[:, None] + WIDTHS**2
    density = np.exp(-(d[:, None] ** 2) / total / 2) / np.sqrt(total)

    def loss(logits):
        pi = softmax(logits)
        return -np.log(density @ pi).sum() - NULL_WEIGHT * np.log(pi[0])

    pi = softmax(optimize.minimize(loss, np.zeros(len(WIDTHS)), options={"maxiter": 2000, "gtol": 1e-6}).x)
    member = pi * density
    kept = (member * WIDTHS**2 / total).sum(axis=1) / member.sum(axis=1)
    # 200 steps of expectation-maximisation bring weights between like widths to a few per cent, and effects closer.
    np.testing.assert_allclose(shrink_adaptively(d, variance), kept * d, atol=0.01)


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
    saved = ObservedShares((B, CONTROL, A), rng.normal(size=(3, 4)), rng.random((3, 4)))
    saved.save(tmp_path / "shares.safetensors")
    loaded = ObservedShares.load(tmp_path / "shares.safetensors")
    assert loaded.conditions == saved.conditions
    for k, condition in enumerate(saved.conditions):
        np.testing.assert_array_equal(loaded.of(condition).log_share, saved.log_share[k])
        np.testing.assert_array_equal(loaded.of(condition).variance, saved.variance[k])
