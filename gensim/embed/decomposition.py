"""Leading singular vectors and eigenvectors of sparse matrices, the same every time."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh, svds

from gensim.errors import DataError

Float64Array = NDArray[np.float64]


def leading_singular(matrix: sparse.csr_matrix, n: int) -> tuple[Float64Array, Float64Array, Float64Array]:
    """(R, n) left vectors, (n,) singular values, falling, and (C, n) right vectors; largest left entries positive.

    Raises:
        DataError: the matrix is too small for n.
    """
    _refuse_too_many(n, min(matrix.shape))
    u, s, vt = svds(matrix.astype(np.float64), n, v0=np.ones(min(matrix.shape)), solver="arpack")
    order = np.argsort(-s, kind="stable")
    u, s, v = u[:, order], s[order], vt[order].T
    sign = _signs(u)
    return u * sign, s, v * sign


def leading_eigen(matrix: sparse.csr_matrix | LinearOperator, n: int) -> tuple[Float64Array, Float64Array]:
    """(R, n) eigenvectors of a symmetric matrix and (n,) eigenvalues, falling; largest entries positive.

    Raises:
        DataError: the matrix is too small for n.
    """
    _refuse_too_many(n, matrix.shape[0])
    # A start that is no eigenvector of a regular graph, as a constant one would be.
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    values, vectors = eigsh(matrix, n, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")
    vectors = vectors[:, order]
    return vectors * _signs(vectors), values[order]


def _signs(vectors: Float64Array) -> Float64Array:
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0))


def _refuse_too_many(n: int, most: int) -> None:
    if not 1 <= n < most:
        raise DataError(f"{n} features asked for; this table allows 1 to {most - 1}")
