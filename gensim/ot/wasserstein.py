"""Transport distances between two samples with uniform weights, through POT."""

import numpy as np
import ot
from numpy.typing import NDArray

from gensim.ot.plans import Matrix, exact_plan, sinkhorn_plan, squared_distances, uniform

Cells = NDArray[np.floating]
MOST_ITERATIONS = 10_000


def wasserstein(x: Cells, y: Cells, order: int) -> float:
    """W_p = (min over plans of <plan, ||x_i - y_j||_2^p>)^(1/p), exact, by network simplex.

    Args:
        x: (N, D) cells, finite, any unit.
        y: (M, D) other cells. Time grows with the cube of the numbers.
        order: p, 1 or 2.

    Returns:
        In the unit of the cells, not negative; 0 where the samples are equal.

    Source: Peyré and Cuturi, Computational optimal transport (2019), eq. 2.18.
    """
    squared = squared_distances(x, y)
    cost = squared if order == 2 else np.sqrt(squared)
    return float((exact_plan(cost) * cost).sum() ** (1 / order))


def sinkhorn_divergence(x: Cells, y: Cells, reg: float) -> float:
    """S = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2 for the squared Euclidean cost.

    OT(x, y) = min over plans of <plan, cost> + reg KL(plan | uniform x uniform)

    Args:
        x, y: as in `wasserstein`.
        reg: entropic regularisation, in the squared unit of the cells.

    Returns:
        In the squared unit of the cells, not negative up to the tolerance of the iteration; 0 where the samples are
        equal. Between W_2^2 (reg to 0) and the squared distance of means (reg to infinity).

    Raises:
        TrainingError: the iteration does not reach the marginals.

    Source: Feydy et al., Interpolating between optimal transport and MMD, AISTATS 2019, eq. 3.
    """
    cross, own_x, own_y = (_entropic(squared_distances(a, b), reg) for a, b in ((x, y), (x, x), (y, y)))
    return cross - (own_x + own_y) / 2


def sliced_wasserstein1(x: Cells, y: Cells, n_projections: int, seed: int) -> float:
    """Mean over directions on the sphere, drawn by seed, of W_1 between the projections of (N, D) and (M, D) cells.

    Source: Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging Vision 51 (2015).
    """
    pair = (np.asarray(cells, dtype=np.float64) for cells in (x, y))
    generator = np.random.RandomState(seed)  # of a number, POT would seed the one that all threads share
    return float(ot.sliced_wasserstein_distance(*pair, n_projections=n_projections, p=1, seed=generator))


def wasserstein1_by_column(x: Cells, y: Cells) -> NDArray[np.float64]:
    """(G,) W_1 between the columns of (N, G) and (M, G) cells, each by itself, in the unit of the cells."""
    return np.asarray(ot.wasserstein_1d(*(np.asarray(cells, dtype=np.float64) for cells in (x, y)), p=1))


def _entropic(cost: Matrix, reg: float) -> float:
    plan = sinkhorn_plan(cost, reg, MOST_ITERATIONS)
    independent = uniform(cost.shape[0])[:, None] * uniform(cost.shape[1])
    positive = plan > 0
    divergence = (plan[positive] * np.log(plan[positive] / independent[positive])).sum()
    return float((plan * cost).sum() + reg * divergence)
