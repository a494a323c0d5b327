"""Spread over all conditions: mean and variance of genes, real beside simulated, reduced to the points of one plot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.results import MODEL, REAL
from gensim.seeding import numpy_generator
from gensim.types import FloatArray

MOST_POINTS = 4_000


@dataclass(frozen=True, slots=True)
class MeanVariance:
    """Points, one per gene and condition, that have a place on logarithmic axes.

    Args:
        log10: (4, n) decimal logarithms of n <= 4,000 points: mean and variance in real cells, mean in simulated cells,
            and variance in simulated / in real cells; means and variances of log1p CP10k. Logarithms, as float16 is
            coarse below 6e-5 and 0 below 3e-8: so numbers are right to 1 % down to 1e-16. The ratio, as it is right
            to 0.1 % between 1/2 and 2, which a difference of rounded logarithms is not.
        n_all: points that n were drawn from.
        n_conditions: conditions that have means and variances.
        quartiles: of variance simulated / real over all points; None where there are none.
    """

    log10: NDArray[np.float16]
    n_all: int
    n_conditions: int
    quartiles: tuple[float, float, float] | None


def mean_variance(moments: Iterable[Mapping[str, tuple[FloatArray, FloatArray]]], seed: int) -> MeanVariance:
    """Reduce means and variances of all conditions.

    Points with a mean or a variance that is not above 0 on either side have no place and are left out. Of more than
    4,000 one is drawn from each of as many equal stretches, so that conditions have their shares, and not always the
    same genes.

    Args:
        moments: per condition the (G,) mean and variance of the `real` and the `model`'s cells, log1p CP10k; empty
            for a condition without them.
        seed: of the draw.
    """
    found = [np.stack([*m[REAL], *m[MODEL]]) for m in moments if m]
    points = np.concatenate([np.empty((4, 0), dtype=np.float32), *found], axis=1)
    points = points[:, (points > 0).all(axis=0)]
    n_all = points.shape[1]
    mean, variance, model_mean, model_variance = np.log10(points)
    ratio = model_variance - variance
    quartiles = None
    if n_all:
        low, middle, high = (float(10**q) for q in np.quantile(ratio, [0.25, 0.5, 0.75]))
        quartiles = low, middle, high
    shown = _spread_evenly(n_all, seed)
    log10 = np.stack([column[shown] for column in (mean, variance, model_mean, ratio)]).astype(np.float16)
    return MeanVariance(log10, n_all, len(found), quartiles)


def _spread_evenly(n: int, seed: int) -> NDArray[np.int64]:
    """At most 4,000 numbers below n, ascending."""
    if n <= MOST_POINTS:
        return np.arange(n)
    ends = np.arange(MOST_POINTS + 1) * n // MOST_POINTS
    return numpy_generator(seed, "shown means and variances").integers(ends[:-1], ends[1:])
