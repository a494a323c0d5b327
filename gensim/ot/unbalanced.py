"""Couplings that may leave cells out: partial and unbalanced optimal transport."""

from dataclasses import dataclass

import numpy as np
import ot
from numpy.typing import NDArray
from scipy.special import logsumexp

from gensim.errors import TrainingError
from gensim.ot.coupling import Cells, Pairs
from gensim.ot.plans import KERNEL_RANGE, SIMPLEX_ITERATIONS, Matrix, checked, mean_cost, squared_distances, uniform

POTENTIAL_TOLERANCE = 1e-6
PARTIAL_DUMMIES = 32  # POT advises several: with one, the dummy cell's large mass slows the simplex down


@dataclass(frozen=True, slots=True)
class UnbalancedCoupling:
    """Entropic optimal transport that pays for marginals it does not keep, so that odd cells are left out.

    Pairs are drawn in proportion to the plan's mass: a cell that the plan avoids is rarely or never in a pair.

    Args:
        reg: entropic regularisation, in units of the mean cost of the group.
        reg_marginal: price of a marginal that is not kept, in the same units; the larger, the nearer to Sinkhorn.
    """

    reg: float
    reg_marginal: float
    max_iterations: int

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        cost = squared_distances(z_0, z_1)
        unit = mean_cost(cost)
        plan = unbalanced_plan(cost, self.reg * unit, self.reg_marginal * unit, self.max_iterations)
        return draw_pairs(plan, len(z_1), rng)


@dataclass(frozen=True, slots=True)
class PartialCoupling:
    """Exact optimal transport of the share `mass` of the cells that is cheapest to move (Chapel et al. 2020).

    Args:
        mass: in (0, 1]; the remaining cells of both sides are in no pair. 1 is exact optimal transport.

    Raises:
        ValueError: mass is not a share.
    """

    mass: float

    def __post_init__(self) -> None:
        if not 0 < self.mass <= 1:
            raise ValueError(f"mass is {self.mass}; a share of the cells lies in (0, 1]")

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        return draw_pairs(partial_plan(squared_distances(z_0, z_1), self.mass), len(z_1), rng)


def partial_plan(cost: Matrix, mass: float) -> Matrix:
    """(N, M) plan of total `mass` and least cost, with marginals of at most 1/N and 1/M."""
    a, b = uniform(cost.shape[0]), uniform(cost.shape[1])
    plan: Matrix = ot.partial.partial_wasserstein(
        a,
        b,
        checked(cost, cost),
        m=mass * min(a.sum(), b.sum()),  # sums of 1/n can be a rounding error below 1
        nb_dummies=PARTIAL_DUMMIES,
        numItermax=SIMPLEX_ITERATIONS,
    )
    return plan


def unbalanced_plan(cost: Matrix, reg: float, reg_marginal: float, max_iterations: int) -> Matrix:
    """(N, M) plan P of entropic transport with relaxed marginals (Chizat et al. 2018, eq. 3.1 and algorithm 1).

        min <P, cost> + reg KL(P | a bᵀ) + rho KL(P 1 | a) + rho KL(Pᵀ 1 | b),    a = 1/N, b = 1/M, rho = reg_marginal
        P_ij = a_i b_j exp((f_i + g_j - cost_ij) / reg)
        f_i = -rho/(rho + reg) reg log sum_j b_j exp((g_j - cost_ij) / reg),    g alike

    After each round f and g are shifted against each other by the constant that is best (Séjourné et al. 2022,
    translation-invariant Sinkhorn), without which large rho takes thousands of rounds. POT's solver in the log domain
    (0.9.7, `sinkhorn_stabilized`) returns wrong plans for small reg, and its other ones fail where a cell is far from
    all others, the very cell that is to be left out; hence the iteration stands here.

    Raises:
        TrainingError: the potentials still move after `max_iterations`, or the plan moves no mass.
    """
    checked(cost, cost)
    n, m = cost.shape
    rho, share = reg_marginal, reg_marginal / (reg_marginal + reg)
    smooth = _Kernel(cost, reg) if cost.max() <= KERNEL_RANGE * reg else _LogKernel(cost, reg)
    f, g = np.zeros(n), np.zeros(m)
    for _ in range(max_iterations):
        before = f
        f = -share * smooth.over_targets(g)
        g = -share * smooth.over_sources(f)
        t = rho / 2 * (logsumexp(-f / rho, b=1 / n) - logsumexp(-g / rho, b=1 / m))
        f, g = f + t, g - t
        if np.abs(f - before).max() <= POTENTIAL_TOLERANCE * reg:
            break
    else:
        raise TrainingError(
            f"unbalanced transport at reg={reg:.3g} and reg_marginal={rho:.3g} has not settled after {max_iterations} "
            f"iterations; the cost ranges from {cost.min():.3g} to {cost.max():.3g}. "
            "Raise coupling.reg or coupling.max_iterations"
        )
    plan = checked(np.exp((f[:, None] + g - cost) / reg) / (n * m), cost)
    if not plan.any():
        raise TrainingError(
            f"unbalanced transport moves no cell at reg_marginal={rho:.3g}; the cost ranges from {cost.min():.3g} to "
            f"{cost.max():.3g}. Raise coupling.reg_marginal"
        )
    return plan


def draw_pairs(plan: Matrix, n: int, rng: np.random.Generator) -> Pairs:
    """`n` pairs from the (N, M) plan as a joint distribution, by systematic sampling (Madow 1949).

    Every entry and every target is drawn as often as its share of the mass says, rounded up or down; entries without
    mass never.
    """
    cumulative = plan.T.ravel().cumsum()
    total = cumulative[-1]
    thresholds = np.minimum((rng.random() + np.arange(n)) / n * total, np.nextafter(total, 0))
    target, source = np.divmod(np.searchsorted(cumulative, thresholds, side="right"), len(plan))
    return Pairs(source.astype(np.int64), target.astype(np.int64))


@dataclass(frozen=True, slots=True)
class _LogKernel:
    """reg log of the mean of exp((potential - cost)/reg): slow, and right for any cost."""

    cost: Matrix
    reg: float

    def over_targets(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.reg * logsumexp((g - self.cost) / self.reg, axis=1, b=1 / len(g))
        return found

    def over_sources(self, f: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.reg * logsumexp((f[:, None] - self.cost) / self.reg, axis=0, b=1 / len(f))
        return found


class _Kernel:
    """The same by matrix products, where ``exp(-cost/reg)`` does not underflow."""

    def __init__(self, cost: Matrix, reg: float) -> None:
        self.kernel = np.exp(-cost / reg)
        self.reg = reg

    def over_targets(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.reg * np.log(self.kernel @ np.exp(g / self.reg) / len(g))
        return found

    def over_sources(self, f: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.reg * np.log(np.exp(f / self.reg) @ self.kernel / len(f))
        return found
