"""Distances between the distributions of single genes, averaged over genes."""

import numpy as np

from gensim.types import FloatArray, blocks

GENES_AT_ONCE = 512


def mean_wasserstein1(x: FloatArray, y: FloatArray) -> float:
    """mean_g W_1(x_g, y_g) of (N, G) and (M, G) cells, in their unit."""
    from gensim.ot.wasserstein import wasserstein1_by_column  # POT takes a second to be imported

    parts = [wasserstein1_by_column(x[:, genes], y[:, genes]).sum() for genes in blocks(x.shape[1], GENES_AT_ONCE)]
    return float(sum(parts) / x.shape[1])


def mean_kolmogorov_smirnov(x: FloatArray, y: FloatArray) -> float:
    """mean_g sup_t |F_x,g(t) - F_y,g(t)| with F the empirical distribution functions; between 0 and 1.

    Source: Smirnov 1948, Ann. Math. Stat. 19.
    """
    columns_x, columns_y = (np.sort(cells, axis=0).T for cells in (x, y))
    return float(np.mean([_largest_gap(a, b) for a, b in zip(columns_x, columns_y, strict=True)]))


def _largest_gap(a: FloatArray, b: FloatArray) -> float:
    """Of two sorted samples; distribution functions change at their values only."""
    both = np.concatenate([a, b])
    shares = (np.searchsorted(sample, both, side="right") / len(sample) for sample in (a, b))
    return float(np.abs(np.subtract(*shares)).max())
