"""Vectors of genes from the expression of control cells: genes that go together lie together."""

import numpy as np
from scipy.sparse.linalg import LinearOperator

from gensim.data.screen import Screen
from gensim.embed.decomposition import leading_eigen
from gensim.errors import DataError
from gensim.perturbations.vectors import VectorTable
from gensim.types import IntArray


def expression_vectors(screen: Screen, rows: IntArray, n: int, source: str) -> VectorTable:
    """Loadings of the leading principal components of standardised log1p CP10k, each context around its own mean.

        R = U diag(lambda) U',    vectors = U diag(lambda^1/2)

    with R the correlations of genes within contexts, so that inner products of vectors are about correlations. Genes
    that do not vary are left out. Memory grows with the stored values.

    Args:
        rows: control cells that may be seen: those of training.

    Raises:
        DataError: fewer than two cells of every context, or too few genes for n.

    Source: Jolliffe 2002, Principal Component Analysis, section 3.3 (of correlation matrices).
    """
    parts = [rows[screen.condition_of[rows] == k] for k in np.unique(screen.condition_of[rows])]
    cells = [screen.log1p_cp10k(part).astype(np.float64) for part in parts if len(part) > 1]
    freedom = sum(x.shape[0] - 1 for x in cells)
    if freedom == 0:
        raise DataError(f"{source} has no two training control cells of one context; nothing goes together in them")
    means = [np.asarray(x.mean(axis=0)).ravel() for x in cells]
    squares = sum(
        np.asarray(x.multiply(x).sum(axis=0)).ravel() - x.shape[0] * m**2 for x, m in zip(cells, means, strict=True)
    )
    variance = np.asarray(squares).clip(0) / freedom
    # Rounding leaves a little variance in genes that are the same in all cells.
    varies = np.flatnonzero(variance > 1e-9)
    cells, means = [x[:, varies].tocsr() for x in cells], [m[varies] for m in means]
    scale = 1 / np.sqrt(variance[varies])

    def correlate(v: np.ndarray) -> np.ndarray:
        w = scale[:, None] * v.reshape(len(scale), -1)
        found = sum(x.T @ (x @ w) - x.shape[0] * np.outer(m, m @ w) for x, m in zip(cells, means, strict=True))
        return np.asarray(scale[:, None] * found / freedom).reshape(v.shape)

    u, values = leading_eigen(
        LinearOperator((len(varies),) * 2, matvec=correlate, matmat=correlate, dtype=np.float64), n
    )
    vectors = u * np.sqrt(values.clip(0))
    return VectorTable(tuple(screen.genes[i] for i in varies), vectors.astype(np.float32), source)
