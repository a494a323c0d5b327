"""Measured effects shrunk as Bayes would, each gene by itself."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import softmax
from scipy.stats import multivariate_normal

from gensim.perturbations.shrinkage import ALIKE, NULL_WEIGHT, WIDTHS, shrink_each, shrink_over_contexts, steadied


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
        kept.append((shrink_each(d, variance) ** 2).mean() / (d**2).mean())
    # Now and then chance looks like a few small effects, which keeps 2 % of the squares of one screen in eight.
    assert max(kept) < 0.05
    assert np.median(kept) < 1e-3


def test_large_effects_that_were_measured_well_are_kept():
    _, d, variance = measured(500, 0, moved=0.0)
    large = np.array([1.5, -2.0, 3.0, -0.8, 1.0])
    d[:5], variance[:5] = large, 1e-3
    np.testing.assert_allclose(shrink_each(d, variance)[:5], large, rtol=0.02)


def test_the_same_measurement_is_kept_less_where_it_is_less_sure():
    _, d, variance = measured(500, 1, moved=0.2)
    d[:3], variance[:3] = 1.0, [1e-3, 0.1, 1.0]
    kept = shrink_each(d, variance)[:3]
    assert kept[0] > 0.95
    # Ten standard errors, three, and one: the mixture is a fifth of effects, so the last is most likely chance.
    assert kept[0] > kept[1] > 2 * kept[2] > 0


def test_no_effect_stays_none_and_signs_do_not_matter():
    _, d, variance = measured(200, 2, moved=0.3)
    d[7] = 0.0
    shrunk = shrink_each(d, variance)
    assert shrunk[7] == 0.0
    np.testing.assert_array_equal(shrink_each(-d, variance), -shrunk)
    assert (np.sign(shrunk) == np.sign(d)).all()
    np.testing.assert_array_less(np.abs(shrunk), np.abs(d) + 1e-300)


@pytest.mark.parametrize("moved", [0.02, 0.1, 0.5])
def test_planted_effects_are_estimated_nearly_as_well_as_by_one_who_knows_the_mixture(moved):
    effect, d, variance = measured(1500, 3, moved)
    shrunk, best = shrink_each(d, variance), posterior_mean(d, variance, moved)

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
    np.testing.assert_allclose(shrink_each(d, variance), kept * d, atol=0.01)


def test_genes_that_are_constant_on_both_sides_do_no_harm():
    d, variance = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1e-3])
    shrunk = shrink_each(d, variance)
    assert np.isfinite(shrunk).all()
    assert shrunk[:2].tolist() == [0, 0]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_cells_that_agree_by_chance_invent_no_effects(n):
    """2,000 genes, n perturbed and 500 control cells of one population."""
    rng = np.random.default_rng(0)
    treated, control = rng.normal(0, 0.5, (n, 2000)), rng.normal(0, 0.5, (500, 2000))
    d, of_controls = treated.mean(0) - control.mean(0), control.var(0, ddof=1) / 500
    own = treated.var(0, ddof=1) / n if n > 1 else np.zeros(2000)
    effects = shrink_each(d, steadied(own, n, of_controls, 500) + of_controls)
    # One cell in 2,000 genes has a value or two at 3.5 standard deviations.
    assert (np.abs(effects) > 0.3).mean() < 0.002
    assert np.sqrt((effects**2).mean()) < 0.03
    if n == 2:
        assert np.sqrt((shrink_each(d, own + of_controls) ** 2).mean()) > 0.1, "two cells alone are fooled"


def in_contexts(seed: int, correlation: float, moved: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects on 600 genes in three contexts, measured about as surely as they are large, with these correlations."""
    rng = np.random.default_rng(seed)
    covariance = correlation * np.ones((3, 3)) + (1 - correlation) * np.eye(3)
    effect = rng.multivariate_normal(np.zeros(3), covariance, 600).T * (rng.random(600) < moved)
    variance = 10 ** rng.uniform(-1.5, 0.3, (3, 600))
    return effect, effect + np.sqrt(variance) * rng.normal(size=effect.shape), variance


def test_weights_over_contexts_are_the_likeliest_and_means_those_of_dense_gaussians():
    """Against a general optimiser of the penalised likelihood, with every covariance written out."""
    _, d, variance = (a[:, :40] for a in in_contexts(0, 0.8, moved=0.3))
    covariances = [np.zeros((3, 3))] + [
        width**2 * base
        for width in WIDTHS[1:]
        for base in [
            *(rho * np.ones((3, 3)) + (1 - rho) * np.eye(3) for rho in (0.0, *ALIKE)),
            *(np.diag(one) for one in np.eye(3)),
        ]
    ]
    noise = [np.diag(of_gene) for of_gene in variance.T]
    density = np.array(
        [[multivariate_normal.pdf(x, cov=c + v) for c in covariances] for x, v in zip(d.T, noise, strict=True)]
    )
    mean = np.array([[c @ np.linalg.solve(c + v, x) for c in covariances] for x, v in zip(d.T, noise, strict=True)])

    def loss(logits):
        pi = softmax(logits)
        return -np.log(density @ pi).sum() - NULL_WEIGHT * np.log(pi[0])

    pi = softmax(optimize.minimize(loss, np.zeros(len(covariances)), options={"maxiter": 2000, "gtol": 1e-6}).x)
    member = pi * density
    member /= member.sum(axis=1, keepdims=True)
    expected = np.einsum("gk,gkc->cg", member, mean)
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(shrink_over_contexts(d, variance), expected, atol=0.02)


@pytest.mark.parametrize(("correlation", "gain"), [(1.0, 0.6), (0.8, 0.75), (0.0, 1.0), (-0.4, 1.0)])
def test_contexts_help_each_other_as_far_as_they_are_alike(correlation, gain):
    """Error of the effects, relative to shrinkage of each context by itself, over eight planted screens."""
    together, apart = [], []
    for seed in range(8):
        effect, d, variance = in_contexts(seed, correlation)
        alone = np.stack([shrink_each(*of_context) for of_context in zip(d, variance, strict=True)])
        together.append(((shrink_over_contexts(d, variance) - effect) ** 2).mean())
        apart.append(((alone - effect) ** 2).mean())
    # Even where effects are not alike, a gene that moves in one context moves in the others.
    assert np.mean(together) < gain * np.mean(apart)


def test_genes_that_move_in_one_context_alone_lose_little_by_the_others():
    effect, d, variance = in_contexts(1, 0.0)
    alone = effect * (np.arange(3) == 0)[:, None]
    d = d - effect + alone
    apart = np.stack([shrink_each(*of_context) for of_context in zip(d, variance, strict=True)])
    error = ((shrink_over_contexts(d, variance) - alone) ** 2).mean()
    assert error < 1.1 * ((apart - alone) ** 2).mean()


def test_the_order_of_contexts_does_not_matter():
    _, d, variance = in_contexts(2, 0.8)
    backwards = shrink_over_contexts(d[::-1], variance[::-1])[::-1]
    np.testing.assert_allclose(shrink_over_contexts(d, variance), backwards, rtol=1e-9)


def test_a_context_that_was_hardly_measured_is_told_by_the_others():
    effect, d, variance = in_contexts(3, 1.0)
    d[0], variance[0], variance[1:] = 0.0, 1e6, 1e-3
    d[1:] = effect[1:]
    moved = np.abs(effect[0]) > 0.5
    np.testing.assert_allclose(shrink_over_contexts(d, variance)[0, moved], effect[0, moved], rtol=0.1)
