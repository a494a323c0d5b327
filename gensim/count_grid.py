"""Real-valued expression onto the grid of counts that a cell can have."""

import numpy as np

from gensim.types import CP10K, FloatArray, IntArray

ALMOST_WHOLE = 1e-3
"""Counts; float32 logarithms of counts come back within this of them."""


def draw_counts(x: FloatArray, library_size: FloatArray, v: FloatArray) -> IntArray:
    """Counts whose log1p CP10k has the expectation x: the neighbour below or above, as a uniform draw says.

        P(c + 1) = (x - l(c)) / (l(c + 1) - l(c)),   l(c) = log(1 + 1e4 c / L),   l(c) <= x < l(c + 1)

    So a zero that was moved up a little stays zero in most cells, what was a whole count stays it, and the mean effect
    on log1p CP10k, which pseudobulks compare, is kept. It adds the least variance that counts can have.

    Args:
        x: (n, G) log1p CP10k, not negative.
        library_size: (n,) counts L over all genes of the screen.
        v: (n, G) uniform draws in [0, 1).

    Returns:
        (n, G) int64 counts.
    """
    per_count = CP10K / library_size.astype(np.float64)[:, None]
    counts = np.expm1(x.astype(np.float64)) / per_count
    below = np.floor(counts + ALMOST_WHOLE)
    low, high = np.log1p(below * per_count), np.log1p((below + 1) * per_count)
    counts_drawn: IntArray = (below + (v * (high - low) < x - low)).astype(np.int64)
    return counts_drawn
