"""Averages over conditions with bootstrap intervals, and the score between no change (0) and a replicate (1).

Conditions are the units that are resampled, never cells: the interval says how the average would move with other
conditions of the same kind. With few conditions (below about ten) percentile intervals are too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gensim.seeding import numpy_generator

RESAMPLES = 2_000
LEVEL = 0.95
ONE_CONDITION = "one condition has no interval over conditions"
CLEARLY_POSITIVE = 2.0
"""Standard deviations over repeats that a condition's denominator must exceed for it to have a score of its own."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number over `n` conditions with its interval; what could not be computed is None, and `reason` says why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


def mean_with_interval(values: Sequence[float], seed: int, *, resamples: int = RESAMPLES) -> Estimate:
    """Average of one value per condition, with the 95 % percentile interval of the bootstrap over conditions.

    Returns:
        No value without conditions, and no interval for a single condition, each with its reason.
    """
    u = np.asarray(values, dtype=np.float64)
    if len(u) == 0:
        return Estimate(None, None, None, 0, "no condition has a value")
    mean = float(u.mean())
    if len(u) == 1:
        return Estimate(mean, None, None, 1, ONE_CONDITION)
    low, high = interval(u[_resampled(len(u), seed, resamples)].mean(axis=1))
    return Estimate(mean, low, high, len(u))


def normalised_score(
    u: Sequence[float],
    u_no_change: Sequence[float],
    u_replicate: Sequence[float],
    seed: int,
    *,
    resamples: int = RESAMPLES,
) -> Estimate:
    """s = (u_nochange - u) / (u_nochange - u_replicate) of averages over the same conditions; lower u is better.

    0: no better than control cells; 1: as good as repeating the experiment. The interval resamples conditions
    jointly in numerator and denominator.

    Args:
        u, u_no_change, u_replicate: one value per condition, same conditions in the same order.
        seed: of the bootstrap.

    Returns:
        No value where the replicate is no better than no change on average; no interval where it is so in any
        resample, because a ratio has no percentiles across a pole; each with its reason.
    """
    values = np.stack([np.asarray(v, dtype=np.float64) for v in (u, u_no_change, u_replicate)])
    n = values.shape[1]
    if n == 0:
        return Estimate(None, None, None, 0, "no condition has values of the row, of no change and of the replicate")
    numerator, denominator = values[1] - values[0], values[1] - values[2]
    if denominator.mean() <= 0:
        reason = "on average the replicate is no nearer to the real cells than control cells are: no effect to score"
        return Estimate(None, None, None, n, reason)
    score = float(numerator.mean() / denominator.mean())
    if n == 1:
        return Estimate(score, None, None, 1, ONE_CONDITION)
    rows = _resampled(n, seed, resamples)
    below = denominator[rows].mean(axis=1)
    if (below <= 0).any():
        share = float((below <= 0).mean())
        return Estimate(score, None, None, n, f"no interval: {share:.1%} of resamples hold no effect to score")
    low, high = interval(numerator[rows].mean(axis=1) / below)
    return Estimate(score, low, high, n)


def condition_score(u: ArrayLike, u_no_change: ArrayLike, u_replicate: ArrayLike) -> Estimate:
    """The score of one condition, from (R,) values of R repeats (other halves of the same real cells).

    Returns:
        No value, with the reason, unless the denominator is clearly positive: above twice its standard deviation
        over repeats. Repeats share cells, so this guards against noise and is not a test.
    """
    values = np.stack([np.asarray(v, dtype=np.float64) for v in (u, u_no_change, u_replicate)])
    numerator, denominator = values[1] - values[0], values[1] - values[2]
    spread = float(denominator.std(ddof=1)) if len(denominator) > 1 else 0.0
    mean = float(denominator.mean())
    if mean <= CLEARLY_POSITIVE * spread:
        reason = f"no change minus replicate is {mean:.3g} ± {spread:.2g} over repeats, not clearly positive"
        return Estimate(None, None, None, 1, reason)
    return Estimate(float(numerator.mean()) / mean, None, None, 1)


def resampled_means(values: NDArray[np.float64], seed: int, *, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, C) averages of (n, C) values of n conditions in bootstrap samples of them.

    Each is over those that have a value, NaN standing for none; NaN where a sample has none.
    """
    rows = _resampled(len(values), seed, resamples)
    weights = np.stack([np.bincount(chosen, minlength=len(values)) for chosen in rows]).astype(np.float64)
    known = ~np.isnan(values)
    n = weights @ known
    means: NDArray[np.float64] = np.full(n.shape, np.nan)
    return np.divide(weights @ np.where(known, values, 0.0), n, out=means, where=n > 0)


def _resampled(n: int, seed: int, resamples: int) -> NDArray[np.int64]:
    """(resamples, n) rows drawn with replacement; the same for every metric and row of n conditions."""
    return numpy_generator(seed, "bootstrap", n).integers(0, n, size=(resamples, n))


def interval(statistics: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentiles."""
    low, high = np.quantile(statistics, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
