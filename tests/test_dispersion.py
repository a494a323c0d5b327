"""Shifts of dispersion in one condition: planted ones found again, and the posterior's maximum against scipy's."""

import numpy as np
import pytest
import torch
from scipy import optimize, sparse, stats

from gensim.autoencoder import dispersion
from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.dispersion import PRIOR_WIDTH, log_theta_shift
from gensim.nn.blocks import zero
from gensim.seeding import torch_generator

SHARE = np.array([0.004, 0.01, 0.02, 0.004, 0.01, 0.02])
THETA = np.array([0.5, 0.5, 0.5, 2.0, 2.0, 2.0])
GENES = len(SHARE)


def with_shares(device: str, theta: np.ndarray = THETA) -> CountAutoencoder:
    """Whatever the latents are, the mean is the library size times SHARE."""
    autoencoder = CountAutoencoder(
        GENES, 2, 8, 1, zero_inflated=False, variational=False, generator=torch_generator(0)
    ).to(device)
    zero(autoencoder.decoder[-1])
    autoencoder.log_share.copy_(torch.from_numpy(np.log(np.append(SHARE, 1 - SHARE.sum()))))
    autoencoder.log_theta.data.copy_(torch.from_numpy(np.log(theta)))
    return autoencoder


def drawn(rng: np.random.Generator, mu: np.ndarray, theta: np.ndarray, shift: float | np.ndarray) -> sparse.csr_matrix:
    shifted = theta * np.exp(shift)
    return sparse.csr_matrix(rng.poisson(rng.gamma(shifted, size=mu.shape) * mu / shifted).astype(np.float32))


def cells(n: int, seed: int, shift: float | np.ndarray, theta: np.ndarray = THETA):
    """Latents (which say nothing), counts and library sizes of n cells."""
    rng = np.random.default_rng(seed)
    library_size = rng.integers(500, 2000, n).astype(np.float32)
    z = rng.normal(size=(n, 2)).astype(np.float32)
    return z, drawn(rng, SHARE * library_size[:, None], theta, shift), library_size


def most_probable(mu: np.ndarray, counts: sparse.csr_matrix, theta: np.ndarray) -> np.ndarray:
    """(G,) by scipy's density and scipy's search, in float64."""
    x = counts.toarray()

    def loss(shift: float, g: int) -> float:
        shifted = theta[g] * np.exp(shift)
        log_prob = stats.nbinom.logpmf(x[:, g], shifted, shifted / (shifted + mu[:, g])).sum()
        return shift**2 / (2 * PRIOR_WIDTH**2) - log_prob

    return np.array([
        optimize.minimize_scalar(loss, bounds=(-2, 2), args=(g,), method="bounded").x for g in range(GENES)
    ])  # fmt: skip


@pytest.mark.parametrize("factor", [4.0, 1.0, 1 / 3])
def test_a_planted_shift_is_found_given_enough_cells(device, factor):
    shift = log_theta_shift(with_shares(device), *cells(4000, 0, np.log(factor)))
    # Log theta has a standard error of 0.02 to 0.06 among 4,000 such cells: four of those for a gene, and for the mean.
    np.testing.assert_allclose(shift, np.log(factor), atol=0.24)
    assert abs(np.mean(shift) - np.log(factor)) < 0.06


@pytest.mark.parametrize("n", [1, 20, 300])
def test_the_shift_is_the_most_probable_one(device, n):
    planted = np.linspace(-1.5, 1.5, GENES)
    z, counts, library_size = cells(n, 1, planted)
    best = most_probable(SHARE * library_size[:, None], counts, THETA)
    # The parabola through points 1/8 apart misses a maximum that is not one by a few thousandths.
    np.testing.assert_allclose(log_theta_shift(with_shares(device), z, counts, library_size), best, atol=0.01)


def test_few_cells_stay_near_0(device):
    shifts = [log_theta_shift(with_shares(device), *cells(2, seed, np.log(4.0))) for seed in range(20)]
    # The prior is surer of log theta (1/2) than two cells are, and log 4 becomes about 0.16.
    assert np.abs(shifts).max() < 0.6
    assert abs(np.mean(shifts)) < 0.25
    np.testing.assert_array_equal(log_theta_shift(with_shares(device), *cells(0, 0, 0.0)), 0)


def test_shifts_end_where_the_grid_does(device):
    huge = log_theta_shift(with_shares(device), *cells(1000, 2, np.repeat([4.0, -4.0], 3)))
    np.testing.assert_array_less(np.abs(huge), 2 + 1e-6)
    np.testing.assert_array_less(1.8, np.abs(huge[3:]))


def test_what_latents_say_of_the_mean_is_no_dispersion(device):
    """Means that differ tenfold between cells, as their latents say; scattering about those means is as elsewhere."""
    rng = np.random.default_rng(3)
    autoencoder = CountAutoencoder(
        GENES, 2, 8, 0, zero_inflated=False, variational=False, generator=torch_generator(0)
    ).to(device)
    weight, theta = rng.normal(0, 0.8, (GENES, 2)), np.full(GENES, 8.0)
    autoencoder.decoder[0].weight.data.copy_(torch.from_numpy(weight))
    autoencoder.decoder[0].bias.data.zero_()
    autoencoder.log_theta.data.fill_(np.log(8.0))
    autoencoder.latent_mean.fill_(0.5)
    autoencoder.latent_scale.fill_(1.5)
    autoencoder.log_share[-1] = np.log(50.0)
    z = rng.normal(size=(1500, 2)).astype(np.float32)
    library_size = rng.integers(500, 2000, 1500).astype(np.float32)
    rho = np.exp((1.5 * z + 0.5) @ weight.T)
    mu = library_size[:, None] * rho / (rho.sum(axis=1, keepdims=True) + 50)
    counts = drawn(rng, mu, theta, 0.0)
    found = log_theta_shift(autoencoder, z, counts, library_size)
    # 1,500 cells know log theta to about 0.05 here. Without the latents the shift would be below -1.5.
    np.testing.assert_allclose(found, 0, atol=0.25)
    np.testing.assert_allclose(found, most_probable(mu, counts, theta), atol=0.01)


def test_genes_that_are_nearly_poisson_are_not_moved_by_rounding(device):
    """Where theta is large, log-gammas of thousands cancel, and what is left of float32 adds up over cells."""
    theta = np.full(GENES, 1000.0)
    z, counts, library_size = cells(4000, 4, 0.0, theta)
    best = most_probable(SHARE * library_size[:, None], counts, theta)
    np.testing.assert_allclose(log_theta_shift(with_shares(device, theta), z, counts, library_size), best, atol=0.05)


def test_cells_are_taken_some_at_a_time(device, monkeypatch):
    autoencoder, observed = with_shares(device), cells(300, 5, np.log(2.0))
    at_once = log_theta_shift(autoencoder, *observed)
    monkeypatch.setattr(dispersion, "CELLS_AT_ONCE", 7)
    # Sums over cells are float64; single densities may differ in the last float32 digit.
    np.testing.assert_allclose(log_theta_shift(autoencoder, *observed), at_once, atol=1e-4)


def test_a_mean_that_is_known_to_be_missed_is_not_taken_for_dispersion(device):
    """Counts of three times the decoded mean: without the effect that looks like spread."""
    rng = np.random.default_rng(0)
    library_size = rng.integers(500, 2000, 3000).astype(np.float32)
    counts = drawn(rng, 3 * SHARE * library_size[:, None], THETA, 0.0)
    latents = rng.normal(size=(3000, 2)).astype(np.float32)
    fooled = log_theta_shift(with_shares(device), latents, counts, library_size)
    told = log_theta_shift(with_shares(device), latents, counts, library_size, np.full(GENES, np.log(3), np.float32))
    assert np.abs(told).max() < 0.2
    assert np.abs(fooled).min() > 0.4
