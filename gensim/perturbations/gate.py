"""How far a mean is brought from one prediction to another, learned from what neither was fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.types import IntArray

EXPECTED, SPREAD = 1 / 3, 1 / 3
"""Mean and standard deviation of the share before any condition has been looked at (decision 20)."""
FEWEST = 2
"""Units from which a share is learned: fewer say nothing of their own spread."""
SHARES = np.linspace(EXPECTED - 6 * SPREAD, EXPECTED + 6 * SPREAD, 2401)
"""Over which the posterior is summed."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gate:
    """A share of the way between two predictions.

    Args:
        share: what is used, from 0 (the first prediction) to 1 (the second).
        n_units: from which it was learned: conditions, or what was held back together.
        best: share that leaves the least squared error of these; None where it was not learned.
        error: standard error of `best`; None likewise.
    """

    share: float = EXPECTED
    n_units: int = 0
    best: float | None = None
    error: float | None = None

    def in_words(self, what: str, to: str, by: str) -> str:
        """For a log.

        Args:
            what, to: names of what is brought some of the way, and to what. by: what the units are.
        """
        way = f"{what}: {self.share:.2f} of the way to {to}"
        if self.best is None:
            return f"{way}, as too few {by} tell"
        return f"{way}; {self.n_units} {by} say {self.best:.2f} ± {self.error:.2f}"


def learn_gate(
    first: Float64Array,
    second: Float64Array,
    measured: Float64Array,
    unit: IntArray,
    control: IntArray,
    control_variance: Float64Array,
) -> Gate:
    """The share of the way from the first of two predictions to the second that comes nearest to what was measured.

        best = sum_k (t_k - m_k) . (r_k - m_k) / sum_k |r_k - m_k|²

    Its variance is that of leaving out one unit after another (Efron and Stein 1981), and what units have in common by
    the errors of the control cells that they were measured against. What is used is the posterior mean under a normal
    prior, `best` (or 0 or 1, whichever it is beyond) being Student's t around the true share, with a degree of freedom
    less than there are units.

    Args:
        first, second, measured: (K, F) m, r and t, by condition. Errors of t must not be in m or r.
        unit: (K,) number of what was held back with each condition; conditions of one unit are not independent.
        control: (K,) row of `control_variance` that each condition was measured against.
        control_variance: (C, F) variances of the means of control cells.
    """
    towards = second - first
    a, b = (_summed(unit, products.sum(axis=1)) for products in ((measured - first) * towards, np.square(towards)))
    n, others = len(b), b.sum() - b
    if n < FEWEST or not (others > 0).all() or not np.isfinite(a).all():
        return Gate()
    best = float(a.sum() / b.sum())
    left_out = (a.sum() - a) / others
    over_units = (n - 1) / n * float(np.square(left_out - left_out.mean()).sum())
    of_controls = _between_units(towards, unit, control, control_variance) / float(b.sum()) ** 2
    error = (over_units + of_controls) ** 0.5
    return Gate(_posterior_mean(min(1.0, max(0.0, best)), error, n - 1), n, best, error)


def _between_units(towards: Float64Array, unit: IntArray, control: IntArray, variance: Float64Array) -> float:
    """Sum of the covariances of units in `sum_k t_k . towards_k` by errors of the same control cells."""
    _, of_unit = np.unique(np.stack([unit, control], axis=1), axis=0, return_inverse=True)
    within = _summed(of_unit, towards)
    same = np.zeros(len(within), dtype=np.int64)
    same[of_unit] = control
    together = np.square(_summed(control, towards)) - _summed(same, np.square(within))
    return max(0.0, float((variance * together).sum()))


def _posterior_mean(best: float, error: float, freedom: int) -> float:
    off = (best - SHARES) / max(error, float(SHARES[1] - SHARES[0]))
    log_likelihood = -(freedom + 1) / 2 * np.log1p(np.square(off) / freedom)
    log_posterior = log_likelihood - np.square((SHARES - EXPECTED) / SPREAD) / 2
    weight = np.exp(log_posterior - log_posterior.max())
    return float(weight @ SHARES / weight.sum())


def _summed(row: IntArray, values: Float64Array) -> Float64Array:
    """Sums of the values that belong to each row."""
    total = np.zeros((row.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(total, row, values)
    return total
