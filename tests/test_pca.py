"""Principal components: those of a dense decomposition, whichever way the covariance is summed."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from gensim import pca
from gensim.errors import DataError


@pytest.mark.parametrize("sparse_cost", [0.0, np.inf])
@pytest.mark.parametrize("shape", [(5_000, 30), (20, 30)])
def test_components_are_those_of_the_dense_cells(monkeypatch, sparse_cost, shape):
    """Means far from 0 would show sums in float32."""
    monkeypatch.setattr(pca, "SPARSE_COST", sparse_cost)
    x = sparse.random(*shape, 0.4, format="csr", random_state=0, dtype=np.float32) * 3
    x = sparse.csr_matrix(x.multiply(1 + np.arange(shape[1])), dtype=np.float32)
    found = pca.fit_pca(x, 8)
    expected = PCA(8, svd_solver="full").fit(x.toarray().astype(np.float64))
    np.testing.assert_allclose(found.variance, expected.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(found.mean, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(found.components, expected.components_, atol=1e-6)


def test_no_more_components_than_there_are(monkeypatch):
    x = sparse.random(5, 30, 0.5, format="csr", random_state=0, dtype=np.float32)
    assert pca.fit_pca(x, 50).components.shape == (4, 30)
    assert pca.fit_pca(x[:, :3].tocsr(), 50).components.shape == (3, 3)
    with pytest.raises(DataError, match="at least 2 cells, got 1"):
        pca.fit_pca(x[:1], 2)
    monkeypatch.setattr(pca, "LARGEST_COVARIANCE", 0)
    assert pca.fit_pca(x, 50).components.shape == (4, 30)
    assert pca.fit_pca(x[:, :3].tocsr(), 50).components.shape == (2, 3), "an iteration finds all but one"


def test_no_variance_is_below_zero():
    """Of cells on a line the variance beside it is rounding, of either sign."""
    x = np.outer(np.arange(100), np.arange(1, 31)).astype(np.float32)
    variance = pca.fit_pca(sparse.csr_matrix(x), 30).variance
    assert variance[0] == pytest.approx(x.var(axis=0, ddof=1).sum(), rel=1e-6)
    assert (variance >= 0).all()


@pytest.mark.parametrize("largest", [0, 30])
def test_cells_that_come_in_blocks_have_the_components_of_the_whole(monkeypatch, largest):
    monkeypatch.setattr(pca, "LARGEST_COVARIANCE", largest)
    x = sparse.random(200, 30, 0.4, format="csr", random_state=0, dtype=np.float32)
    expected = pca.fit_pca(x, 4)
    found = pca.fit_pca((x[rows : rows + 70] for rows in range(0, 200, 70)), 4)
    np.testing.assert_allclose(found.components, expected.components, atol=1e-6)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-6)


def test_the_largest_weight_of_a_component_is_positive():
    x = sparse.random(200, 30, 0.4, format="csr", random_state=0, dtype=np.float32)
    components = pca.fit_pca(x, 6).components
    assert (components[np.arange(6), np.abs(components).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("largest", [0, 30])
def test_no_block_at_all_is_no_cell(monkeypatch, largest):
    monkeypatch.setattr(pca, "LARGEST_COVARIANCE", largest)
    with pytest.raises(DataError, match="at least 2 cells, got 0"):
        pca.fit_pca(iter(()), 2)


@pytest.mark.parametrize("many", [0, np.inf])
def test_iteration_and_decomposition_agree(monkeypatch, many):
    monkeypatch.setattr(pca, "MANY", many)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 60)) * np.geomspace(5, 0.5, 60)).astype(np.float32)
    found = pca.fit_pca(sparse.csr_matrix(x), 5)
    expected = PCA(5, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(found.variance, expected.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(found.components @ expected.components_.T), np.eye(5), atol=1e-6)


@pytest.mark.parametrize("kind", ["equal cells", "two kinds of cells"])
def test_few_directions_among_many_genes(kind):
    """An iteration finds no third direction there, nor a first one among equal cells."""
    x = np.zeros((40, 100), dtype=np.float32)
    if kind == "two kinds of cells":
        x[:20, 3] = 1
    found = pca.fit_pca(sparse.csr_matrix(x), 8)
    assert found.components.shape == (8, 100)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(8), atol=1e-6)
    expected = 40 / 39 / 4 if kind == "two kinds of cells" else 0.0
    np.testing.assert_allclose(found.variance, [expected, *[0.0] * 7], atol=1e-7)


def test_fewer_directions_than_components_are_the_same_each_time():
    """An iteration that has found all there are goes on at random."""
    x = np.zeros((200, 600), dtype=np.float32)
    x[:, :30] = np.random.default_rng(0).poisson(1, (200, 30))
    one, other = (pca.fit_pca(sparse.csr_matrix(x), 50) for _ in range(2))
    np.testing.assert_array_equal(one.components, other.components)
