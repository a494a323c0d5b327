"""Principal components of cells, shared by the plain autoencoder and by the space in which metrics are taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import PCA

from gensim.errors import DataError

LARGEST_COVARIANCE = 5_000


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
    deterministic. The matrix stays sparse.

    Raises:
        DataError: fewer than two cells.
    """
    n_cells, n_genes = x.shape
    if n_cells < 2:
        raise DataError(f"principal components need at least 2 cells, got {n_cells}")
    exact = n_genes <= LARGEST_COVARIANCE
    most = min(n_cells - 1, n_genes if exact else n_genes - 1)
    solver = "covariance_eigh" if exact else "arpack"
    pca = PCA(min(n_components, most), svd_solver=solver, random_state=0).fit(x.astype(np.float64))
    return PrincipalComponents(
        mean=pca.mean_.astype(np.float32),
        components=np.ascontiguousarray(pca.components_, dtype=np.float32),
        variance=pca.explained_variance_.astype(np.float32),
    )
