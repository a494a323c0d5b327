"""Vectors of genes from a network: who is connected with whom, how strongly, with which sign, in which direction."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from gensim.embed.decomposition import leading_eigen, leading_singular
from gensim.errors import DataError
from gensim.perturbations.vectors import VectorTable

CANCELLED = 1e-12
"""Of the mean weight."""


def network_vectors(
    source_gene: pd.Series, target_gene: pd.Series, weight: NDArray[np.float64], n: int, source: str, *, directed: bool
) -> VectorTable:
    """Spectral embedding of a network, degrees regularised by their mean d.

    Undirected, with |A| the absolute weights and D the diagonal of their sums:

        L = (D + d)^-1/2 A (D + d)^-1/2 = U diag(lambda) U',    vectors = U diag(|lambda|^1/2)

    Directed, with sums of rows and of columns, each with its mean:

        L = (D_out + d)^-1/2 A (D_in + d)^-1/2 = U S V',    vectors = [U S^1/2, V S^1/2]

    where the first half of a gene's features says what it acts on, and the second what acts on it.

    Args:
        source_gene, target_gene: an edge per row; edges of a gene with itself are left out, and repeated edges count
            with their mean weight. Genes without an edge of a weight other than 0 have no vector.
        weight: (E,) finite; below 0 for edges that inhibit.
        n: features; even where the network is directed.

    Raises:
        DataError: weights that are not finite or all 0, no edges, or too few genes for n.

    Source: Qin & Rohe 2013, NeurIPS 26, equation 2 (regularised spectral clustering); Rohe, Qin & Yu 2016, PNAS 113
    (directed: DI-SIM); Kunegis et al. 2010, SDM (absolute degrees of signed networks).
    """
    if not np.isfinite(weight).all():
        raise DataError(f"{int((~np.isfinite(weight)).sum())} edges of {source} have weights that are not finite")
    if directed and n % 2:
        raise DataError(f"{n} features asked for; a directed network needs an even number, for both directions")
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
    d_out, d_in = (np.asarray(abs(a).sum(axis=axis)).ravel() for axis in (1, 0))
    connected = np.flatnonzero(d_out + d_in)
    a, d_out, d_in = a[connected][:, connected], d_out[connected], d_in[connected]
    left, right = (sparse.diags((d + d.mean()) ** -0.5) for d in (d_out, d_in))
    scaled = (left @ a @ right).tocsr()
    if directed:
        u, s, v = leading_singular(scaled, n // 2)
        vectors = np.concatenate([u * np.sqrt(s), v * np.sqrt(s)], axis=1)
    else:
        u, values = leading_eigen(scaled, n)
        vectors = u * np.sqrt(np.abs(values))
    return VectorTable(tuple(str(name) for name in genes[connected]), vectors.astype(np.float32), source)
