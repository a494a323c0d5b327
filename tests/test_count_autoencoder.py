"""The count autoencoder: library size as an offset, planted programmes and dispersions found again, what it refuses."""

import numpy as np
import pytest
import torch
from scipy import sparse

from gensim.autoencoder.base import ObservedCells
from gensim.autoencoder.count import CountAutoencoder, active_units, fit_count
from gensim.autoencoder.fitting import FitSettings
from gensim.data.scale import to_log1p_cp10k
from gensim.errors import TrainingError
from gensim.nn.blocks import zero
from gensim.seeding import torch_generator

GENES = 24
THETA = np.where(np.arange(GENES) % 2, 8.0, 0.8)


def observed(counts: np.ndarray, library_size: np.ndarray) -> ObservedCells:
    sizes = library_size.astype(np.float32)
    x = sparse.csr_matrix(counts.astype(np.float32))
    return ObservedCells(
        to_log1p_cp10k(x, "counts", sizes), x, sizes, [f"G{g}" for g in range(GENES)], ["control"] * len(sizes)
    )


def planted(n: int, seed: int, extra_zeros: float = 0.0) -> ObservedCells:
    """Cells of three kinds (two hidden directions), each with its own shares of half of the counts, drawn from NBs."""
    rng = np.random.default_rng(seed)
    programmes = np.random.default_rng(42).normal(0, 0.8, size=(3, GENES))
    share = np.exp(programmes) / np.exp(programmes).sum(1, keepdims=True) / 2
    library_size = rng.integers(500, 2000, n)
    mu = share[rng.integers(0, 3, n)] * library_size[:, None]
    counts = rng.poisson(rng.gamma(THETA, size=(n, GENES)) * mu / THETA)
    counts[rng.random(counts.shape) < extra_zeros] = 0
    return observed(counts, library_size)


def untrained(zero_inflated: bool = False, variational: bool = True, n_latents: int = 5) -> CountAutoencoder:
    return CountAutoencoder(
        GENES, n_latents, 32, 1, zero_inflated=zero_inflated, variational=variational, generator=torch_generator(0)
    )


def fitted(train: ObservedCells, validation: ObservedCells, zero_inflated: bool, variational: bool) -> CountAutoencoder:
    autoencoder = untrained(zero_inflated, variational)
    settings = FitSettings(1e-2, 0.0, cells_per_step=128, max_epochs=20, patience_epochs=5, seed=0)
    fit_count(autoencoder, train, validation, settings, lambda *_: None, kl_weight=1.0, kl_warmup_epochs=3)
    return autoencoder


@pytest.fixture(scope="module", params=[True, False], ids=["variational", "deterministic"])
def found(request) -> tuple[CountAutoencoder, ObservedCells]:
    test = planted(1000, seed=2)
    return fitted(planted(3000, seed=0), planted(500, seed=1), False, request.param), test


def test_planted_dispersions_are_found(found):
    autoencoder, _ = found
    theta = autoencoder.log_theta.detach().exp().numpy()
    # 3,000 cells know log theta to about 0.1. Without a prior, single latents may take over a gene's noise.
    assert np.median(np.abs(np.log(theta / THETA))) < 0.1
    if autoencoder.variational:
        np.testing.assert_allclose(np.log(theta), np.log(THETA), atol=0.35)


def test_unseen_cells_are_likelier_than_under_shares_alone(found):
    autoencoder, test = found
    with torch.no_grad():
        x, counts = (torch.from_numpy(m.toarray()) for m in (test.x, test.counts))
        sizes = torch.from_numpy(test.library_size)[:, None]
        own = autoencoder.distribution(autoencoder.encode(x), sizes).log_prob(counts).sum(1).mean()
        plain = untrained()
        plain.see(test)
        zero(plain.decoder[-1])
        plain.log_theta.copy_(autoencoder.log_theta)
        common = plain.distribution(plain.encode(x), sizes).log_prob(counts).sum(1).mean()
    assert float(own - common) > 3


def test_latents_are_standardised_and_two_of_them_are_at_work(found):
    autoencoder, test = found
    with torch.no_grad():
        z = autoencoder.encode(torch.from_numpy(test.x.toarray())).numpy()
    np.testing.assert_allclose(z.mean(0), 0, atol=0.15)
    assert z.var(0).mean() == pytest.approx(1, abs=0.15)
    if autoencoder.variational:
        # Three kinds of cells span two directions; a collapsed posterior would have none.
        assert 2 <= active_units(z, float(autoencoder.latent_scale)) <= 4


def test_extra_zeros_are_told_from_dispersion():
    train, validation = (planted(n, seed=s, extra_zeros=0.3) for n, s in ((3000, 0), (500, 1)))
    autoencoder = fitted(train, validation, zero_inflated=True, variational=False)
    with torch.no_grad():
        x = torch.from_numpy(validation.x.toarray())
        sizes = torch.from_numpy(validation.library_size)[:, None]
        counted = autoencoder.distribution(autoencoder.encode(x), sizes)
        assert counted.zero_logits is not None
        pi = torch.sigmoid(counted.zero_logits).mean(0).numpy()
    # Where the negative binomial itself is seldom 0 (theta 8), zeros can only be the extra ones.
    assert pi[THETA > 1].mean() == pytest.approx(0.3, abs=0.08)


def test_the_library_size_is_an_offset():
    autoencoder, z = untrained(), torch.randn(4, 5, generator=torch_generator(1))
    once, twice = (autoencoder.distribution(z, torch.full((4, 1), size)).mean for size in (1000.0, 2000.0))
    torch.testing.assert_close(twice, 2 * once)


def test_an_untrained_decoder_has_the_shares_of_the_training_cells_and_never_more_than_all_counts():
    cells, autoencoder = planted(200, seed=0), untrained()
    autoencoder.see(cells)
    z = 30 * torch.randn(50, 5, generator=torch_generator(1))
    assert float(autoencoder.distribution(z, torch.ones(50, 1)).mean.detach().sum(1).max()) <= 1 + 1e-5
    zero(autoencoder.decoder[-1])
    share = np.asarray(cells.counts.sum(0)).ravel() / cells.library_size.sum()
    np.testing.assert_allclose(autoencoder.distribution(z[:1], torch.ones(1, 1)).mean.detach()[0], share, rtol=1e-4)


def test_effects_are_factors_of_mean_and_inverse_dispersion():
    autoencoder, z, sizes = untrained(), torch.zeros(1, 5), torch.full((1, 1), 1e3)
    plain = autoencoder.distribution(z, sizes)
    moved = autoencoder.distribution(z, sizes, torch.full((1, GENES), 2.0).log(), torch.full((1, GENES), 3.0).log())
    torch.testing.assert_close(moved.mu, 2 * plain.mu)
    torch.testing.assert_close(moved.theta, (3 * plain.theta).expand_as(moved.theta))


def test_a_gene_without_counts_is_simulated_as_zeros():
    cells = planted(300, seed=0)
    counts = cells.counts.toarray()
    counts[:, 3] = 0
    silent = observed(counts, cells.library_size)
    autoencoder = fitted(silent, silent, False, True)
    with torch.no_grad():
        x = torch.from_numpy(silent.x.toarray())
        drawn = autoencoder.distribution(autoencoder.encode(x), torch.full((300, 1), 1e4))
        u = np.random.default_rng(0).random((300, GENES))
        assert drawn.at_quantiles(u, 1 - u)[:, 3].max() == 0


def test_the_fit_follows_from_the_seed():
    train, validation = planted(300, 0), planted(100, 1)
    a, b = (fitted(train, validation, False, True).state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_likelihood_that_is_not_finite_names_gene_and_condition():
    cells = planted(64, seed=0)
    broken = cells.counts.copy().tolil()
    broken[5, 7] = np.nan
    labels = ["control"] * 64
    labels[5] = "STAT1"
    bad = ObservedCells(cells.x, broken.tocsr(), cells.library_size, cells.genes, labels)
    autoencoder = untrained()
    autoencoder.see(cells)
    autoencoder.see = lambda cells: None  # type: ignore[method-assign]
    settings = FitSettings(1e-3, 0.0, cells_per_step=64, max_epochs=1, patience_epochs=1, seed=0)
    with pytest.raises(TrainingError, match=r"likelihood of gene 'G7' in a cell of condition 'STAT1' is nan"):
        fit_count(autoencoder, bad, cells, settings, lambda *_: None, kl_weight=1.0, kl_warmup_epochs=0)
