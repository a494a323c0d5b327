"""Leading singular vectors and eigenvectors of sparse matrices, the same every time."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from sklearn.utils.extmath import randomized_svd

from gensim.errors import DataError

Float64Array = NDArray[np.float64]

MOST_DENSE = 2000
"""Names, on the smaller side."""
N_POWER_ITERATIONS = 12
TIED = 1e-6
FULL = 0.1
"""Share of entries from which products of a dense matrix are so much quicker that its memory is worth it."""


def leading_singular(
    matrix: sparse.csr_matrix, n: int, n_power_iterations: int = N_POWER_ITERATIONS
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """(R, n) left vectors, (n,) singular values, falling, and (C, n) right vectors; largest left entries positive.

    Exact for small matrices, randomised with power iterations for others (Halko, Martinsson & Tropp 2011), which are
    computed in the matrix's own precision.

    Raises:
        DataError: the matrix is too small for n.
    """
    refuse_too_many(n, min(matrix.shape))
    if min(matrix.shape) <= MOST_DENSE:
        u, s, vt = np.linalg.svd(matrix.toarray().astype(np.float64), full_matrices=False)
        u, s, vt = u[:, :n], s[:n], vt[:n]
    else:
        settings = {"n_oversamples": n, "n_iter": n_power_iterations, "power_iteration_normalizer": "QR"}
        filled = matrix.nnz > FULL * matrix.shape[0] * matrix.shape[1]
        u, s, vt = randomized_svd(matrix.toarray() if filled else matrix, n, random_state=0, **settings)
    sign = _signs(u)
    return u * sign, s, vt.T * sign


def leading_eigen(matrix: sparse.csr_matrix | LinearOperator, n: int) -> tuple[Float64Array, Float64Array]:
    """(R, n) eigenvectors of a symmetric matrix and (n,) eigenvalues, falling; largest entries positive.

    Raises:
        DataError: the matrix is too small for n, or its values are too extreme.
    """
    size = matrix.shape[0]
    refuse_too_many(n, size)
    if size <= MOST_DENSE:
        values, vectors = np.linalg.eigh(matrix @ np.eye(size))
        values, vectors = values[-n:], vectors[:, -n:]
    else:
        try:
            # A start that is always the same; ones would be an eigenvector of some graphs.
            start = np.random.default_rng(0).standard_normal(size)
            values, vectors = eigsh(matrix, n, which="LA", v0=start)
        except ArpackError as error:
            raise DataError(f"the table cannot be decomposed ({error}); has it extreme weights?") from error
    order = np.argsort(-values, kind="stable")
    vectors = vectors[:, order]
    return vectors * _signs(vectors), values[order]


def _signs(vectors: Float64Array) -> Float64Array:
    # The first of those that are largest but for rounding.
    size = np.abs(vectors)
    largest = (size >= (1 - TIED) * size.max(axis=0)).argmax(axis=0)
    return np.asarray(np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0))


def refuse_too_many(n: int, size: int) -> None:
    """Refuse n singular vectors or eigenvectors of a matrix of a size.

    Raises:
        DataError: n is not below the size, or not above 0.
    """
    if size < 2:
        raise DataError(f"the table holds {size} names that tell anything; at least 2 are needed")
    if not 1 <= n < size:
        raise DataError(
            f"{n} singular vectors or eigenvectors are needed; this table allows 1 to {size - 1}, see --features"
        )
