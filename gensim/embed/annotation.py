"""Vectors of genes from what they are annotated with: gene sets, GO terms, pathways."""

import numpy as np
import pandas as pd
from scipy import sparse

from gensim.embed.decomposition import leading_singular
from gensim.errors import DataError
from gensim.perturbations.vectors import VectorTable


def annotation_vectors(gene: pd.Series, term: pd.Series, n: int, source: str) -> VectorTable:
    """Truncated SVD of the gene x term matrix, terms weighed by log(N / N with the term), rows of length 1.

        X = U S V',    vectors = U S

    so that inner products of vectors are about the weighted shares of terms that two genes have in common. Genes that
    only have terms which all or no others have are left out.

    Args:
        gene, term: a row per annotation, text; repeated rows count once.
        n: features.
        source: for messages.

    Raises:
        DataError: no two genes share a term, or they are too few for n.

    Source: latent semantic analysis (Deerwester et al. 1990, J. Am. Soc. Inf. Sci. 41) with the inverse document
    frequency of Spärck Jones 1972.
    """
    rows, genes = pd.factorize(gene, sort=True)
    columns, terms = pd.factorize(term, sort=True)
    has = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(genes), len(terms)))
    has.data[:] = 1
    genes_with = np.asarray(has.sum(axis=0)).ravel()
    weight = np.where(genes_with > 1, np.log(len(genes) / genes_with), 0)
    weighted = (has @ sparse.diags(weight)).tocsr()
    weighted.eliminate_zeros()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    kept = np.flatnonzero(length)
    if len(kept) == 0:
        raise DataError(f"in {source} no two genes share a term that others have not; nothing tells them apart")
    x = (sparse.diags(1 / length[kept]) @ weighted[kept]).tocsr()
    u, s, _ = leading_singular(x, n)
    return VectorTable(tuple(str(name) for name in genes[kept]), (u * s).astype(np.float32), source)
