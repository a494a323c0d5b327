"""Autoencoders: PCA against numpy, standardisation, reconstruction error, and what the fit may see."""

import numpy as np
import pytest
import torch
from scipy import sparse

from gensim.autoencoder.base import encode_cells, reconstruction_error
from gensim.autoencoder.fitting import FitSettings
from gensim.autoencoder.mlp import MLPAutoencoder, fit_mlp
from gensim.autoencoder.pca import PCAAutoencoder


def cells(n: int = 200, genes: int = 12, seed: int = 0) -> sparse.csr_matrix:
    """Cells on three hidden directions with a little noise, and some zeros."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(42).normal(size=(3, genes))
    x = rng.normal(size=(n, 3)) * [3, 2, 1] @ basis + 0.1 * rng.normal(size=(n, genes)) + 2
    return sparse.csr_matrix(np.maximum(x, 0).astype(np.float32))


def test_pca_equals_a_singular_value_decomposition():
    x = cells()
    dense = x.toarray().astype(np.float64)
    centred = dense - dense.mean(0)
    _, _, rows = np.linalg.svd(centred, full_matrices=False)
    autoencoder = PCAAutoencoder.fit(x, 3)
    projector = rows[:3].T @ rows[:3]
    rebuilt = autoencoder.decode(autoencoder.encode(torch.from_numpy(x.toarray()))).numpy()
    np.testing.assert_allclose(rebuilt, centred @ projector + dense.mean(0), atol=1e-4)


def test_pca_latents_have_mean_zero_and_keep_the_proportions_of_distances():
    x = torch.from_numpy(cells().toarray())
    autoencoder = PCAAutoencoder.fit(cells(), 4)
    z = autoencoder.encode(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(4), rtol=0, atol=1e-4)
    assert float(z.var(0).mean()) == pytest.approx(1, rel=1e-4)
    ratio = torch.pdist(autoencoder.decode(z)) / torch.pdist(z)
    assert float(ratio.std() / ratio.mean()) < 1e-4


def test_no_more_latents_than_there_are():
    assert PCAAutoencoder.fit(cells(n=5), 50).n_latents == 4


def test_reconstruction_error_is_the_variance_that_is_left():
    x = cells()
    eigenvalues = np.linalg.eigvalsh(np.cov(x.toarray().T))[::-1]
    error = reconstruction_error(PCAAutoencoder.fit(x, 2), x)
    assert error["variance_explained"] == pytest.approx(eigenvalues[:2].sum() / eigenvalues.sum(), abs=1e-4)
    assert error["n_cells"] == 200


def test_encoding_in_blocks_is_encoding(monkeypatch):
    monkeypatch.setattr("gensim.autoencoder.base.ROWS_PER_BLOCK", 64)
    x = cells()
    autoencoder = PCAAutoencoder.fit(x, 3)
    out = np.empty((200, 3), np.float32)
    encode_cells(autoencoder, x, out)
    np.testing.assert_allclose(out, autoencoder.encode(torch.from_numpy(x.toarray())).numpy(), atol=1e-5)


def mlp(seed: int = 0, epochs: int = 60) -> tuple[MLPAutoencoder, list[float]]:
    errors: list[float] = []
    autoencoder = MLPAutoencoder(12, 3, 32, 1, torch.Generator().manual_seed(seed))
    fit_mlp(
        autoencoder,
        cells(400),
        cells(100, seed=1),
        FitSettings(3e-3, 0, cells_per_step=64, max_epochs=epochs, patience_epochs=10, seed=seed),
        lambda epoch, error: errors.append(error),
    )
    return autoencoder, errors


def test_the_mlp_learns_what_three_latents_can_hold():
    autoencoder, errors = mlp()
    unseen = cells(300, seed=2)
    assert reconstruction_error(autoencoder, unseen)["variance_explained"] > 0.9
    assert errors[0] > 3 * min(errors)


def test_the_mlp_keeps_its_best_epoch_and_standardises():
    autoencoder, errors = mlp()
    assert reconstruction_error(autoencoder, cells(100, seed=1))["mse"] == pytest.approx(min(errors), rel=1e-3)
    with torch.no_grad():
        z = autoencoder.encode(torch.from_numpy(cells(400).toarray()))
    torch.testing.assert_close(z.mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    assert float(z.var(0, correction=0).mean()) == pytest.approx(1, rel=1e-3)


def test_the_seed_decides_the_mlp_and_the_global_generator_does_not():
    torch.manual_seed(1)
    first, _ = mlp(epochs=2)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second, _ = mlp(epochs=2)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state()), "the global generator was drawn from"
    other, _ = mlp(seed=1, epochs=2)
    assert not torch.equal(first.encoder[0].weight, other.encoder[0].weight)
