"""Transport plans between two sets of cells with uniform weights, through POT."""

import numpy as np
import ot
from numpy.typing import NDArray

from gensim.errors import TrainingError

Matrix = NDArray[np.float64]
SINKHORN_TOLERANCE = 1e-2


def squared_distances(z_0: NDArray[np.floating], z_1: NDArray[np.floating]) -> Matrix:
    """(N, M) squared Euclidean cost, in float64."""
    cost: Matrix = ot.dist(np.asarray(z_0, np.float64), np.asarray(z_1, np.float64), metric="sqeuclidean")
    return cost


def exact_plan(cost: Matrix) -> Matrix:
    """(N, M) plan of least total cost, by network simplex (Bonneel et al. 2011); uniform marginals."""
    n, m = cost.shape
    plan: Matrix = ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), cost)
    return _checked(plan, cost)


def sinkhorn_plan(cost: Matrix, reg: float, max_iterations: int) -> Matrix:
    """(N, M) plan of least ``<plan, cost> - reg * entropy(plan)`` (Cuturi 2013, eq. 2), solved in the log domain.

    Args:
        cost: (N, M), not negative.
        reg: entropic regularisation, in the unit of `cost`.
        max_iterations: after which a plan with wrong marginals is refused.

    Raises:
        TrainingError: the plan is not finite, or its marginals are off by more than 1 % in total.
    """
    n, m = cost.shape
    a, b = np.full(n, 1 / n), np.full(m, 1 / m)
    plan: Matrix = ot.sinkhorn(
        a, b, cost, reg, method="sinkhorn_log", numItermax=max_iterations, stopThr=1e-6, warn=False
    )
    _checked(plan, cost)
    error = np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()
    if error > SINKHORN_TOLERANCE:
        raise TrainingError(
            f"Sinkhorn at reg={reg:.3g} missed its marginals by {error:.2g} after {max_iterations} iterations; "
            "raise coupling.reg or coupling.max_iterations, or use coupling.kind=exact"
        )
    return plan


def _checked(plan: Matrix, cost: Matrix) -> Matrix:
    if not np.isfinite(plan).all():
        raise TrainingError(
            f"the transport plan is not finite; the cost ranges from {cost.min():.3g} to {cost.max():.3g}. "
            "Check the latents for extreme cells, or raise coupling.reg"
        )
    return plan
