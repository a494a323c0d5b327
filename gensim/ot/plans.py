"""Balanced transport plans between two sets of cells with uniform weights, through POT."""

import numpy as np
import ot
from numpy.typing import NDArray

from gensim.errors import TrainingError

Matrix = NDArray[np.float64]

SINKHORN_TOLERANCE = 1e-2
SINKHORN_STOP = 1e-5
"""Euclidean norm of the error of the target marginal at which POT stops; in total, 3e-4 at 1,024 cells."""
KERNEL_RANGE = 300.0
"""Largest cost/reg whose kernel ``exp(-cost/reg)`` is scaled as it is: with scalings of the same size on both sides,
products stay within the 1e±308 of float64."""
SIMPLEX_ITERATIONS = 10_000_000


def squared_distances(z_0: NDArray[np.floating], z_1: NDArray[np.floating]) -> Matrix:
    """(N, M) squared Euclidean cost, in float64.

    Raises:
        TrainingError: some cost is not finite.
    """
    cost: Matrix = ot.dist(np.asarray(z_0, np.float64), np.asarray(z_1, np.float64), metric="sqeuclidean")
    return checked(cost, cost)


def mean_cost(cost: Matrix) -> float:
    """The unit of relative regularisation; 1 where all cells are alike, since every plan costs nothing there."""
    return float(cost.mean()) or 1.0


def uniform(n: int) -> NDArray[np.float64]:
    """(n,) weights of equal cells."""
    return np.full(n, 1 / n)


def exact_plan(cost: Matrix) -> Matrix:
    """(N, M) plan of least total cost, by network simplex (Bonneel et al. 2011); uniform marginals."""
    n, m = cost.shape
    plan: Matrix = ot.emd(uniform(n), uniform(m), checked(cost, cost), numItermax=SIMPLEX_ITERATIONS)
    return plan


def sinkhorn_plan(cost: Matrix, reg: float, max_iterations: int) -> Matrix:
    """(N, M) plan of least ``<plan, cost> - reg * entropy(plan)`` (Cuturi 2013, eq. 2).

    Where ``exp(-cost/reg)`` would underflow, the optimal potentials f, g of the unregularised problem are taken from
    the cost first. ``cost - f - g`` has the same plans, is nowhere negative, and is 0 wherever the exact plan has mass,
    so no row or column of the kernel vanishes, and few iterations remain where reg is small.

    Args:
        cost: (N, M), not negative.
        reg: entropic regularisation, in the unit of `cost`.
        max_iterations: after which a plan with wrong marginals is refused.

    Raises:
        TrainingError: the cost is not finite, or the plan's marginals are off by more than 1 % in total.
    """
    checked(cost, cost)
    a, b = uniform(cost.shape[0]), uniform(cost.shape[1])
    reduced = cost
    if cost.max() > KERNEL_RANGE * reg:
        potentials = ot.emd(a, b, cost, numItermax=SIMPLEX_ITERATIONS, log=True)[1]
        reduced = cost - potentials["u"][:, None] - potentials["v"]
    plan: Matrix = ot.sinkhorn(
        a, b, reduced, reg, method="sinkhorn", numItermax=max_iterations, stopThr=SINKHORN_STOP, warn=False
    )
    checked(plan, cost)
    error = np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()
    if error > SINKHORN_TOLERANCE:
        raise TrainingError(
            f"Sinkhorn at reg={reg:.3g} missed its marginals by {error:.2g} after {max_iterations} iterations; "
            f"the cost ranges from {cost.min():.3g} to {cost.max():.3g}. For a bridge raise its sigma, else "
            "raise coupling.reg or coupling.max_iterations, or use coupling.kind=exact"
        )
    return plan


def checked(values: Matrix, cost: Matrix) -> Matrix:
    """`values` if all are finite.

    Raises:
        TrainingError: they are not; names the range of the cost.
    """
    if not np.isfinite(values).all():
        raise TrainingError(
            f"the {'cost between cells' if values is cost else 'transport plan'} is not finite; the cost ranges from "
            f"{cost.min():.3g} to {cost.max():.3g}. Check the latents for extreme cells, "
            f"{'or drop those cells' if values is cost else 'or raise coupling.reg'}"
        )
    return values
