"""A network of genes as a sparse matrix: edges of a table merged, genes without an edge left out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from gensim.errors import DataError

CANCELLED = 1e-12
"""Of the mean weight."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Who is connected with whom.

    Args:
        genes: G names, sorted; each has an edge.
        adjacency: (G, G) float64, entry (i, j) the weight of the edge from i to j, below 0 where it inhibits; the
            diagonal is 0. Symmetric unless directed.
    """

    genes: tuple[str, ...]
    adjacency: sparse.csr_matrix
    directed: bool


def merge_edges(
    source_gene: pd.Series, target_gene: pd.Series, weight: NDArray[np.float64], source: str, *, directed: bool
) -> Graph:
    """The graph of a table of edges.

    Args:
        source_gene, target_gene: an edge per row; edges of a gene with itself are left out, and repeated edges count
            with their mean weight, undirected ones in either direction. Genes without an edge of a weight other than 0
            are left out.
        weight: (E,) finite; below 0 for edges that inhibit.
        source: for messages.

    Raises:
        DataError: weights that are not finite or all 0, or no edges.
    """
    if not np.isfinite(weight).all():
        raise DataError(f"{int((~np.isfinite(weight)).sum())} edges of {source} have weights that are not finite")
    codes, genes = pd.factorize(pd.concat([source_gene, target_gene], ignore_index=True), sort=True)
    out, into = codes[: len(source_gene)], codes[len(source_gene) :]
    if not directed:
        out, into = np.minimum(out, into), np.maximum(out, into)
    edges = pd.DataFrame({"out": out, "into": into, "weight": weight})[out != into]
    edges = edges.sort_values(["out", "into", "weight"]).groupby(["out", "into"], as_index=False)["weight"].mean()
    # Edges of either sign may cancel, but for rounding.
    edges = edges[edges["weight"].abs() > CANCELLED * edges["weight"].abs().mean()]
    if not len(edges):
        raise DataError(f"{source} has no edge between two genes with a weight other than 0")
    shape = (len(genes), len(genes))
    a = sparse.csr_matrix((edges["weight"], (edges["out"], edges["into"])), shape=shape)
    if not directed:
        a = (a + a.T).tocsr()
    connected = np.flatnonzero(absolute_degrees(a) + absolute_degrees(a.T))
    return Graph(tuple(str(name) for name in genes[connected]), a[connected][:, connected].tocsr(), directed)


def absolute_degrees(adjacency: sparse.csr_matrix) -> NDArray[np.float64]:
    """(G,) sums of the rows of |A|."""
    return np.asarray(abs(adjacency).sum(axis=1), dtype=np.float64).ravel()
