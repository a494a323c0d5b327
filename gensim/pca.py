"""Principal components of cells, shared by the plain autoencoder and by the space in which metrics are taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh
from sklearn.decomposition import PCA
from sklearn.utils.extmath import svd_flip

from gensim.errors import DataError
from gensim.types import blocks

LARGEST_COVARIANCE = 5_000
SPARSE_COST = 100.0
"""Time of a product of stored values, in units of a product inside a dense block."""
CELLS_AT_ONCE = 2_048


@dataclass(frozen=True, slots=True)
class PrincipalComponents:
    """An orthonormal projection.

    Args:
        mean: (G,) float32 mean of the cells that were fitted on.
        components: (D, G) float32, orthonormal rows, by falling variance.
        variance: (D,) float32 variance along each component.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    variance: NDArray[np.float32]

    def project(self, x: NDArray[np.float32] | sparse.csr_matrix) -> NDArray[np.float32]:
        """(B, G) cells, dense or sparse, to (B, D) scores; a sparse matrix is not densified."""
        scores = np.asarray(x @ self.components.T) - self.mean @ self.components.T
        return np.ascontiguousarray(scores, dtype=np.float32)


def fit_pca(x: sparse.csr_matrix, n_components: int) -> PrincipalComponents:
    """Principal components of (N, G) cells; at most min(N - 1, G) of them exist, and no more are returned.

    Exact through the covariance up to 5,000 genes, by Lanczos iteration (ARPACK) above; signs are made
    deterministic. No more than a block of cells is ever dense.

    Raises:
        DataError: fewer than two cells.
    """
    n_cells, n_genes = x.shape
    if n_cells < 2:
        raise DataError(f"principal components need at least 2 cells, got {n_cells}")
    if n_genes > LARGEST_COVARIANCE:
        most = min(n_components, n_cells - 1, n_genes - 1)
        pca = PCA(most, svd_solver="arpack", random_state=0).fit(x.astype(np.float64))
        return _in_float32(pca.mean_, pca.components_, pca.explained_variance_)
    # A sparse float32 matrix has its own mean in float32.
    mean = np.bincount(x.indices, weights=x.data, minlength=n_genes) / n_cells
    covariance = (_gram(x) - n_cells * np.outer(mean, mean)) / (n_cells - 1)
    most = min(n_components, n_cells - 1, n_genes)
    variance, vectors = eigh(covariance, subset_by_index=(n_genes - most, n_genes - 1))
    _, components = svd_flip(None, vectors[:, ::-1].T, u_based_decision=False)
    return _in_float32(mean, components, variance[::-1].clip(min=0))


def _gram(x: sparse.csr_matrix) -> NDArray[np.float64]:
    """(G, G) inner products of the genes, sparse where that takes less time than blocks of dense cells."""
    n_cells, n_genes = x.shape
    work = float(np.square(np.diff(x.indptr), dtype=np.float64).sum())
    if work * SPARSE_COST < n_cells * float(n_genes) ** 2:
        cells = x.astype(np.float64)
        return np.asarray((cells.T @ cells).toarray())
    gram = np.zeros((n_genes, n_genes))
    for rows in blocks(n_cells, CELLS_AT_ONCE):
        dense = x[rows].toarray().astype(np.float64)
        gram += dense.T @ dense
    return gram


def _in_float32(
    mean: NDArray[np.float64], components: NDArray[np.float64], variance: NDArray[np.float64]
) -> PrincipalComponents:
    return PrincipalComponents(
        mean.astype(np.float32), np.ascontiguousarray(components, dtype=np.float32), variance.astype(np.float32)
    )
