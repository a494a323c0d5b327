"""Correction for testing many genes."""

import numpy as np
from numpy.typing import NDArray


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """fdr_(i) = min over j >= i of p_(j) n / j, with p_(1) <= ... <= p_(n); at most p_(n)

    Args:
        p: (n,) between 0 and 1.

    Returns:
        (n,) in the order of `p`.

    Source: Benjamini and Hochberg 1995, JRSS B 57; as `scipy.stats.false_discovery_control`, whose package takes as
    long to be imported as the tests of some conditions.
    """
    n = len(p)
    falling = np.argsort(p)[::-1]
    fdr = np.empty(n)
    fdr[falling] = np.minimum.accumulate(p[falling] * (n / np.arange(n, 0, -1)))
    return fdr
