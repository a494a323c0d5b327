"""How genes vary together within a population."""

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.types import FloatArray

MOST_VARIABLE = 50
FEWEST_CELLS = 3
"""Two cells correlate all genes by 1 or -1."""


def correlation_error(x: FloatArray, y: FloatArray, variance: NDArray[np.float64]) -> float:
    """||R(y) - R(x)||_F / K over the K genes that vary most in x, with R the Pearson correlation matrix of the genes.

    Divided by K the norm is the root mean square over all pairs of genes (each gene with itself included, always 0),
    whatever their number. Sampling noise adds to it: two samples of n and m cells of one population differ by about
    sqrt(1/n + 1/m), which the replicate shows.

    Args:
        x: (n, G) float32, real cells.
        y: (m, G) float32, other cells.
        variance: (G,) of the genes of x; the 50 largest are taken, or all above 0 where there are fewer.

    Returns:
        Between 0 and 2. A gene that is constant in a population correlates with no other gene there (0).

    Raises:
        NotComputable: a population has fewer than three cells, or fewer than two genes vary in x.
    """
    for name, cells in (("real", x), ("predicted", y)):
        if len(cells) < FEWEST_CELLS:
            raise NotComputable(f"the {name} population has {len(cells)} cells; a correlation needs {FEWEST_CELLS}")
    genes = np.argsort(-variance, kind="stable")[:MOST_VARIABLE]
    genes = genes[variance[genes] > 0]
    if len(genes) < 2:
        raise NotComputable(f"{len(genes)} genes vary in the real cells; a correlation of genes needs 2")
    return float(np.linalg.norm(_correlations(y[:, genes]) - _correlations(x[:, genes])) / len(genes))


def _correlations(x: FloatArray) -> NDArray[np.float64]:
    """(K, K) Pearson correlations of the columns of float32 x; 0 off the diagonal for constant ones."""
    # Sums of float32 values are exact in float64, so constant columns are exactly 0 here.
    centred = x - x.mean(axis=0, dtype=np.float64)
    norms = np.linalg.norm(centred, axis=0)
    scaled = centred / np.where(norms > 0, norms, 1.0)
    r = np.asarray(scaled.T @ scaled)
    np.fill_diagonal(r, 1.0)
    return r
