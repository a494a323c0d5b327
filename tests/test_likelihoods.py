"""Count likelihoods against scipy and torch, and draws against the moments they must have."""

import numpy as np
import pytest
import torch
from scipy import stats

from gensim.autoencoder.likelihoods import CountDistribution

MU = torch.tensor([0.02, 0.7, 5.0, 300.0], dtype=torch.float64)
THETA = torch.tensor([0.3, 2.0, 50.0, 4.0], dtype=torch.float64)
LOGITS = torch.tensor([-3.0, 0.0, 1.5, -1.0], dtype=torch.float64)
PI = torch.sigmoid(LOGITS).numpy()
COUNTS = torch.arange(0.0, 600.0, dtype=torch.float64)[:, None].expand(-1, 4)


def everywhere(zeros: bool) -> CountDistribution:
    """The four genes at all counts from 0 to 599."""
    return CountDistribution(MU.expand_as(COUNTS), THETA, LOGITS.expand_as(COUNTS) if zeros else None)


def scipys(zeros: bool) -> np.ndarray:
    theta, mu, x = THETA.numpy(), MU.numpy(), COUNTS.numpy()
    nb = stats.nbinom(theta, theta / (theta + mu))
    # scipy's density underflows far out, where its logarithm goes on.
    return np.where(x == 0, np.log(PI + (1 - PI) * nb.pmf(x)), np.log(1 - PI) + nb.logpmf(x)) if zeros else nb.logpmf(x)


@pytest.mark.parametrize("zeros", [False, True])
def test_densities_are_scipys(zeros):
    np.testing.assert_allclose(everywhere(zeros).log_prob(COUNTS).numpy(), scipys(zeros), rtol=1e-9, atol=1e-9)


def test_densities_are_torchs():
    theirs = torch.distributions.NegativeBinomial(THETA, probs=MU / (THETA + MU))
    torch.testing.assert_close(everywhere(False).log_prob(COUNTS), theirs.log_prob(COUNTS), rtol=1e-9, atol=1e-9)


def test_float32_densities_are_good_to_a_thousandth():
    x = COUNTS.float()
    ours = CountDistribution(MU.float().expand_as(x), THETA.float(), LOGITS.float().expand_as(x)).log_prob(x)
    # Differences of lgamma lose digits as the terms grow; 600 counts cost 1e-3 nats.
    torch.testing.assert_close(ours.double(), everywhere(True).log_prob(COUNTS), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("zeros", [False, True])
def test_moments_are_those_of_the_density(zeros):
    distribution = everywhere(zeros)
    few = slice(0, 3)  # gene 3 has mass beyond 599 counts
    p = distribution.log_prob(COUNTS).exp()
    mean = (p * COUNTS).sum(0)
    variance = (p * (COUNTS - mean) ** 2).sum(0)
    torch.testing.assert_close(distribution.mean[0, few], mean[few], rtol=1e-9, atol=0)
    torch.testing.assert_close(distribution.variance[0, few], variance[few], rtol=1e-9, atol=0)


@pytest.mark.parametrize("zeros", [False, True])
def test_uniform_quantiles_draw_from_the_density(zeros):
    n = 40_000
    u = np.random.default_rng(0).random((n, 4))
    distribution = CountDistribution(MU.expand(n, 4), THETA, LOGITS.expand(n, 4) if zeros else None)
    x = distribution.at_quantiles(u, 1 - u)
    assert (x == np.floor(x)).all()
    assert x.min() == 0
    mean, variance = distribution.mean[0].numpy(), distribution.variance[0].numpy()
    # Five standard errors of the mean; of the variance, whose own error heavy tails inflate, 15 %.
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), 5 * np.sqrt(variance / n))
    np.testing.assert_allclose(x.var(0), variance, rtol=0.15)
    share = everywhere(zeros).log_prob(COUNTS[:1]).exp().numpy()[0]
    np.testing.assert_array_less(np.abs((x == 0).mean(0) - share), 5 * np.sqrt(share * (1 - share) / n) + 1e-12)


@pytest.mark.parametrize("zeros", [False, True])
def test_quantiles_of_counts_lead_back_to_the_counts(zeros):
    """Also far out in the tail, where 1 - u is all that is left of u."""
    rng = np.random.default_rng(0)
    x = np.array([[0, 0, 0, 0], [1, 2, 5, 300], [40, 30, 60, 4000], [200, 200, 150, 9000]], np.float32)
    v = rng.random(x.shape, dtype=np.float32)
    distribution = CountDistribution(MU.expand(4, 4), THETA, LOGITS.expand(4, 4) if zeros else None)
    np.testing.assert_array_equal(distribution.at_quantiles(*distribution.quantiles_of(x, v)), x)


@pytest.mark.parametrize("zeros", [False, True])
def test_quantiles_of_draws_are_uniform(zeros):
    rng, n = np.random.default_rng(1), 20_000
    distribution = CountDistribution(MU.expand(n, 4), THETA, LOGITS.expand(n, 4) if zeros else None)
    u = rng.random((n, 4))
    x = distribution.at_quantiles(u, 1 - u)
    below, above = distribution.quantiles_of(x.astype(np.float32), rng.random((n, 4), dtype=np.float32))
    np.testing.assert_allclose(below + above, 1, atol=1e-9)
    for gene in range(4):
        assert stats.kstest(below[:, gene], "uniform").pvalue > 1e-3


def test_a_gene_that_is_never_seen_has_a_finite_likelihood_and_no_counts():
    nothing = CountDistribution(torch.zeros(3, 1), torch.ones(1))
    assert torch.isfinite(nothing.log_prob(torch.tensor([[0.0], [1.0], [5.0]]))).all()
    u = np.array([[0.1], [0.5], [1 - 1e-9]])
    assert (nothing.at_quantiles(u, 1 - u) == 0).all()


def test_a_gene_that_is_nearly_always_an_extra_zero_still_has_quantiles():
    """At a logit of 40 float64 cannot tell pi from 1."""
    n = 3
    distribution = CountDistribution(MU.expand(n, 4), THETA, torch.full((n, 4), 40.0, dtype=torch.float64))
    x = np.array([[0, 0, 0, 0], [1, 1, 1, 100], [2, 5, 9, 300]], np.float32)
    u, complement = distribution.quantiles_of(x, np.full((n, 4), 0.5, np.float32))
    assert np.isfinite(u).all()
    assert (complement[1:] > 0).all()
    np.testing.assert_array_equal(distribution.at_quantiles(u, complement), x)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_means_of_logarithms_are_sums_over_all_counts(zeros, scale):
    counts = torch.arange(0.0, 20_000.0, dtype=torch.float64)[:, None].expand(-1, 4)
    found = CountDistribution(MU[None], THETA, LOGITS[None] if zeros else None)
    there = CountDistribution(MU.expand_as(counts), THETA, LOGITS.expand_as(counts) if zeros else None)
    expected = (there.log_prob(counts).exp() * torch.log1p(scale * counts)).sum(dim=0)
    mean = found.mean_log1p(torch.tensor([[scale]], dtype=torch.float64))[0]
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-4)


def test_means_of_logarithms_of_nothing_and_of_much():
    found = CountDistribution(torch.tensor([[0.0, 1e3]]), torch.tensor(1e4)).mean_log1p(torch.tensor([[10.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, np.log1p(1e4)]], dtype=torch.float32), rtol=0, atol=8e-4)
