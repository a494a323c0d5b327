"""Principal components of cells, shared by the plain autoencoder and by the space in which metrics are taken."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackError, eigsh

from gensim.errors import DataError
from gensim.types import blocks

LARGEST_COVARIANCE = 5_000
SPARSE_COST = 100.0
"""Time of a product of stored values, in units of a product inside a dense block."""
CELLS_AT_ONCE = 2_048
MANY = 8
"""Times the components wanted, below which a decomposition of all takes less time than an iteration."""
NOTHING = 1e-12
"""Of the largest variance: what rounding leaves of one that is 0."""


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


def fit_pca(x: sparse.csr_matrix | Iterable[sparse.csr_matrix], n_components: int) -> PrincipalComponents:
    """Principal components of (N, G) cells; at most min(N - 1, G) of them exist, and no more are returned.

    Through the covariance up to 5,000 genes, through the cells above, by Lanczos iteration (ARPACK) to the precision of
    float64; signs are made deterministic. Up to 5,000 genes no more than a block of cells is ever dense or, where cells
    come in blocks, in memory at all.

    Args:
        x: the cells, whole or in blocks of them.
        n_components: how many at most.

    Raises:
        DataError: fewer than two cells.
    """
    parts = iter(_blocks(x) if sparse.issparse(x) else x)
    first = next(parts, sparse.csr_matrix((0, 0), dtype=np.float32))
    parts, n_genes = chain([first], parts), first.shape[1]
    if n_genes > LARGEST_COVARIANCE:
        return _by_lanczos(x if sparse.issparse(x) else sparse.vstack(list(parts), format="csr"), n_components)
    n_cells, total, gram = 0, np.zeros(n_genes), np.zeros((n_genes, n_genes))
    for part in parts:
        n_cells += part.shape[0]
        # A sparse float32 matrix has its own mean in float32.
        total += np.bincount(part.indices, weights=part.data, minlength=n_genes)
        gram += _gram(part)
    _refuse_few(n_cells)
    mean = total / n_cells
    covariance = (gram - n_cells * np.outer(mean, mean)) / (n_cells - 1)
    most = min(n_components, n_cells - 1, n_genes)
    variance, vectors = _largest(covariance, most)
    components = vectors[:, ::-1].T
    largest = components[np.arange(most), np.abs(components).argmax(axis=1)]
    return _in_float32(mean, components * np.sign(largest)[:, None], variance[::-1].clip(min=0))


def _largest(covariance: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The n largest eigenvalues, rising, and their (G, n) eigenvectors; by Lanczos iteration where these are few.

    An iteration that has found all directions there are goes on from vectors that it draws without a seed; so a matrix
    of rank below n is decomposed as a whole.
    """
    n_genes = len(covariance)
    if n * MANY < n_genes:
        try:
            variance, vectors = eigsh(covariance, n, v0=np.ones(n_genes))
            if variance[0] > NOTHING * variance[-1]:
                return variance, vectors
        except ArpackError:  # of a matrix that takes ones to 0, or of rank below n
            pass
    return eigh(covariance, subset_by_index=(n_genes - n, n_genes - 1))  # type: ignore[no-any-return]


def _blocks(x: sparse.csr_matrix) -> Iterator[sparse.csr_matrix]:
    return (x[rows] for rows in blocks(x.shape[0], CELLS_AT_ONCE))


def _gram(x: sparse.csr_matrix) -> NDArray[np.float64]:
    """(G, G) inner products of the genes, sparse where that takes less time than a block of dense cells."""
    n_cells, n_genes = x.shape
    work = float(np.square(np.diff(x.indptr), dtype=np.float64).sum())
    if work * SPARSE_COST < n_cells * float(n_genes) ** 2:
        cells = x.astype(np.float64)
        return np.asarray((cells.T @ cells).toarray())
    dense = x.toarray().astype(np.float64)
    return np.asarray(dense.T @ dense)


def _by_lanczos(x: sparse.csr_matrix, n_components: int) -> PrincipalComponents:
    from sklearn.decomposition import PCA

    n_cells, n_genes = x.shape
    _refuse_few(n_cells)
    most = min(n_components, n_cells - 1, n_genes - 1)
    pca = PCA(most, svd_solver="arpack", random_state=0).fit(x.astype(np.float64))
    return _in_float32(pca.mean_, pca.components_, pca.explained_variance_)


def _refuse_few(n_cells: int) -> None:
    if n_cells < 2:
        raise DataError(f"principal components need at least 2 cells, got {n_cells}")


def _in_float32(
    mean: NDArray[np.float64], components: NDArray[np.float64], variance: NDArray[np.float64]
) -> PrincipalComponents:
    return PrincipalComponents(
        mean.astype(np.float32), np.ascontiguousarray(components, dtype=np.float32), variance.astype(np.float32)
    )
