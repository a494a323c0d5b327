"""How far a mean is brought from one prediction to another, learned from conditions that neither has seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXPECTED, SPREAD = 1 / 3, 1 / 3
"""Mean and standard deviation of the share before any condition has been looked at (decision 20)."""
FEWEST = 4
"""Conditions from which a share is learned: the variance of Student's t with their degrees of freedom is finite."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gate:
    """A share of the way between two predictions.

    Args:
        share: what is used, from 0 (the first prediction) to 1 (the second).
        n_conditions: from which it was learned.
        best: share that leaves the least squared error of these; None where it was not learned.
        error: standard error of `best`; None likewise.
    """

    share: float = EXPECTED
    n_conditions: int = 0
    best: float | None = None
    error: float | None = None

    def __str__(self) -> str:
        if self.best is None:
            return f"gate: {self.share:.2f} of the way to the regression on genes, as too few conditions tell of it"
        return (
            f"gate: {self.share:.2f} of the way to the regression on genes; {self.n_conditions} held-back conditions "
            f"say {self.best:.2f} ± {self.error:.2f}"
        )


def learn_gate(first: Float64Array, second: Float64Array, measured: Float64Array) -> Gate:
    """The share of the way from the first of two predictions to the second that comes nearest to what was measured.

        best = sum_k (t_k - m_k) . (r_k - m_k) / sum_k |r_k - m_k|²

    with its standard error by leaving conditions out (Efron and Stein 1981), and the mean of that and of a normal
    prior, each weighed by its precision (that of Student's t, as conditions are few).

    Args:
        first, second, measured: (K, F) m, r and t, by condition. Errors of t must not be in m or r.
    """
    towards = second - first
    a, b = ((measured - first) * towards).sum(axis=1), np.square(towards).sum(axis=1)
    others = b.sum() - b
    n = len(b)
    if n < FEWEST or not (others > 0).all():
        return Gate()
    best = float(a.sum() / b.sum())
    left_out = (a.sum() - a) / others
    variance = (n - 1) / n * float(np.square(left_out - left_out.mean()).sum())
    # What so few conditions say of their own spread is uncertain, too: Student's t with n - 1 degrees of freedom.
    uncertain = variance * (n - 1) / (n - 3)
    share = EXPECTED + SPREAD**2 / (SPREAD**2 + uncertain) * (best - EXPECTED)
    return Gate(min(1.0, max(0.0, share)), n, best, variance**0.5)
