"""Vectors of genes from a network: who is connected with whom, how strongly, with which sign, in which direction."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from gensim.embed.decomposition import Float64Array, leading_eigen, leading_singular
from gensim.embed.graph import Graph, absolute_degrees, merge_edges
from gensim.embed.walks import walk_vectors
from gensim.errors import DataError
from gensim.perturbations.vectors import VectorTable


def network_vectors(
    source_gene: pd.Series,
    target_gene: pd.Series,
    weight: NDArray[np.float64],
    n: int,
    source: str,
    *,
    directed: bool,
    method: str,
) -> VectorTable:
    """Vectors of the genes of a table of edges.

    Args:
        source_gene, target_gene, weight: see `merge_edges`.
        n: features.
        method: one of `METHODS`; see `walk_vectors` and `spectral_vectors`.

    Raises:
        DataError: weights that are not finite or all 0, no edges, or too few genes for n.
    """
    graph = merge_edges(source_gene, target_gene, weight, source, directed=directed)
    return VectorTable(graph.genes, METHODS[method](graph, n).astype(np.float32), source)


def spectral_vectors(graph: Graph, n: int) -> Float64Array:
    """(G, n) spectral embedding of a network, degrees regularised by their mean d.

    Undirected, with |A| the absolute weights and D the diagonal of their sums:

        L = (D + d)^-1/2 A (D + d)^-1/2 = U diag(lambda) U',    vectors = U diag(|lambda|^1/2)

    Directed, with sums of rows and of columns, each with its mean:

        L = (D_out + d)^-1/2 A (D_in + d)^-1/2 = U S V',    vectors = [U S^1/2, V S^1/2]

    where the first half of a gene's features says what it acts on, and the second what acts on it.

    Args:
        n: features; even where the network is directed.

    Raises:
        DataError: too few genes for n.

    Source: Qin & Rohe 2013, NeurIPS 26, equation 2 (regularised spectral clustering); Rohe, Qin & Yu 2016, PNAS 113
    (directed: DI-SIM); Kunegis et al. 2010, SDM (absolute degrees of signed networks).
    """
    if graph.directed and n % 2:
        raise DataError(f"{n} features asked for; a directed network needs an even number, for both directions")
    degrees = (absolute_degrees(graph.adjacency), absolute_degrees(graph.adjacency.T))
    left, right = (sparse.diags((d + d.mean()) ** -0.5) for d in degrees)
    scaled = (left @ graph.adjacency @ right).tocsr()
    if graph.directed:
        u, s, v = leading_singular(scaled, n // 2)
        return np.concatenate([u * np.sqrt(s), v * np.sqrt(s)], axis=1)
    u, values = leading_eigen(scaled, n)
    return u * np.sqrt(np.abs(values))


METHODS: dict[str, Callable[[Graph, int], Float64Array]] = {"walks": walk_vectors, "spectral": spectral_vectors}
