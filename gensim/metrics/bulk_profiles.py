"""Profiles of summed counts, and how much of them is sampling noise.

Source of everything here: The vcc2026 metric suite (Arc Institute, 19 August 2026), sections 1 and 2;
github.com/ArcInstitute/cell-eval2, docs/vcc2026_metrics.
"""

import numpy as np
from numpy.typing import NDArray

from gensim.types import CP10K, FloatArray, blocks

BULK_TOTAL = 5e4
CELLS_AT_ONCE = 64
TINY = np.finfo(np.float64).tiny
Vector = NDArray[np.float64]


def bulk(x: FloatArray, library_size: FloatArray | None) -> Vector:
    """(G,) b = log(1 + 5e4 P_g / sum P), P the sum over cells of their counts, expm1(x) L / 1e4.

    Args:
        x: (n, G) cells, log1p CP10k. Values below 0, which no counts have, count as 0.
        library_size: (n,) L; None where it is not known: cells weigh alike.
    """
    return _profile(_summed(x, library_size))


def noisy_bulk(x: FloatArray, library_size: FloatArray | None) -> Vector:
    """(G + 1,) b of `bulk`, with the same arguments, and C = (n - 1) / n sum_g sum_i (v_ig - mean_i v_ig)^2.

    v_i is the profile of all cells but the i-th. This delete-one jackknife estimates what the sampling of cells adds to
    a squared distance from b; it is 0 for fewer than 2 cells.
    """
    n, total = len(x), _summed(x, library_size)
    whole = _profile(total)
    first, second = np.zeros((2, x.shape[1]))
    for cells in blocks(n, CELLS_AT_ONCE):
        moved = _profile(np.maximum(total - _counts(x, library_size, cells), 0.0)) - whole
        first += moved.sum(axis=0)
        second += np.square(moved).sum(axis=0)
    noise = (n - 1) / n * np.maximum(second - first**2 / n, 0.0).sum() if n > 1 else 0.0
    return np.append(whole, noise)


def _summed(x: FloatArray, library_size: FloatArray | None) -> Vector:
    total = np.zeros(x.shape[1])
    for cells in blocks(len(x), CELLS_AT_ONCE):
        total += _counts(x, library_size, cells).sum(axis=0)
    return total


def _profile(summed: Vector) -> Vector:
    """log(1 + 5e4 share) along the last axis; 0 where there are no counts."""
    return np.asarray(np.log1p(BULK_TOTAL * summed / np.maximum(summed.sum(axis=-1, keepdims=True), TINY)))


def _counts(x: FloatArray, library_size: FloatArray | None, cells: slice) -> Vector:
    counts = np.maximum(np.expm1(x[cells], dtype=np.float64), 0.0)
    if library_size is not None:
        counts *= library_size[cells, None] / CP10K
    return counts
