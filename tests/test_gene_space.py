"""The identity among autoencoders: back and forth without loss, on one scale, with all proportions kept."""

import numpy as np
import torch
from scipy import sparse
from scipy.spatial.distance import pdist

from gensim.autoencoder.base import encode_cells
from gensim.autoencoder.genes import GeneSpace


def cells(n: int, seed: int) -> np.ndarray:
    """Half of the values are 0; genes differ in mean and spread."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, np.linspace(0.1, 1.5, 12), size=(n, 12)) * (rng.random((n, 12)) < 0.5)
    return x.astype(np.float32)


def fitted(x: np.ndarray, device: str) -> GeneSpace:
    return GeneSpace.fit(sparse.csr_matrix(x)).to(device)


def encoded(space: GeneSpace, x: np.ndarray) -> np.ndarray:
    z = np.full((len(x), space.n_latents), np.nan, dtype=np.float32)
    encode_cells(space, sparse.csr_matrix(x), z)
    return z


def test_cells_come_back_as_they_were(device):
    space = fitted(cells(300, 0), device)
    x = torch.from_numpy(cells(50, 1)).to(device)
    # A value near 5 loses its last float32 digit once on the way.
    torch.testing.assert_close(space.decode(space.encode(x)), x, rtol=0, atol=2e-6)
    assert float((space.encode(x) - x).abs().min()) > 0


def test_latents_of_training_cells_have_mean_0_and_mean_variance_1(device):
    x = cells(400, 2)
    z = encoded(fitted(x, device), x).astype(np.float64)
    assert z.shape == (400, 12)
    # Both are averages of float32 values.
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.var(axis=0).mean(), 1, rtol=1e-5)


def test_genes_and_cells_keep_their_proportions(device):
    x, other = cells(400, 2), cells(30, 3)
    space = fitted(x, device)
    z = encoded(space, other).astype(np.float64)
    scale = np.sqrt(x.var(axis=0, dtype=np.float64).mean())
    np.testing.assert_allclose(pdist(z) * scale, pdist(other.astype(np.float64)), rtol=1e-5)
    # A gene that varies ten times as much as another still does.
    np.testing.assert_allclose(z.std(axis=0) * scale, other.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_genes_that_never_vary_do_no_harm(device):
    x = cells(400, 4)
    x[:, 3], x[:, 5] = 0, 1.7
    z = encoded(fitted(x, device), x)
    np.testing.assert_allclose(z[:, [3, 5]], 0, atol=1e-5)
    np.testing.assert_allclose(z.var(axis=0, dtype=np.float64).mean(), 1, rtol=1e-5)


def test_cells_that_are_all_the_same_are_at_0(device):
    # Of 16 cells, and of these values, averages and squares are exact, so that the variance is 0 and not nearly so.
    x = np.tile(np.float32([0, 0.5, 2, 3]), (16, 1))
    space = fitted(x, device)
    np.testing.assert_array_equal(encoded(space, x), 0)
    np.testing.assert_allclose(encoded(space, x + np.float32(1)), 1, rtol=1e-6)


def test_many_cells_are_averaged_as_well_as_few(device):
    x = np.random.default_rng(6).normal(3.0, 0.2, size=(300_000, 2)).astype(np.float32)
    space = fitted(x, device)
    # The buffers are float32. Sums over cells must not be: added to 300,000 others, a value keeps two digits.
    np.testing.assert_allclose(space.mean.cpu(), x.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(float(space.scale) ** 2, x.var(axis=0, dtype=np.float64).mean(), rtol=1e-4)


def test_weights_hold_all_that_was_fitted(device):
    x = cells(100, 5)
    space, empty = fitted(x, device), GeneSpace(12).to(device)
    empty.load_state_dict(space.state_dict())
    np.testing.assert_array_equal(encoded(empty, x), encoded(space, x))
