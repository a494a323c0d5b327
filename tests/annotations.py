"""Annotation and vectors as several tests of `gensim embed` need them."""

import numpy as np
import pandas as pd

from gensim.perturbations.vectors import VectorTable

STAT1, JAK2, MYC = "ENSG00000115415", "ENSG00000096968", "ENSG00000136997"


def cosine(table: VectorTable, a: str, b: str, columns=slice(None)) -> float:
    x, y = (table.vectors[table.names.index(name), columns] for name in (a, b))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def annotated(**terms: str) -> tuple[pd.Series, pd.Series]:
    """gene="a b" -> rows."""
    rows = [(gene, term) for gene, words in terms.items() for term in words.split()]
    return pd.Series([gene for gene, _ in rows]), pd.Series([term for _, term in rows])
