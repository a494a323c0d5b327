"""Couplings: which source cell is paired with which target cell. They return indices, never moved cells."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gensim.ot.plans import Matrix, exact_plan, sinkhorn_plan, squared_distances
from gensim.types import IntArray

Cells = NDArray[np.floating]


class Coupling(Protocol):
    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> IntArray:
        """One source row for every target row.

        Args:
            z_0: (N, D) source cells; z_1: (M, D) target cells, both of one group.
            rng: decides what the plan leaves open.

        Returns:
            (M,) int64: target j is paired with source ``result[j]``, drawn from ``plan[:, j]``.
        """


@dataclass(frozen=True, slots=True)
class IndependentCoupling:
    """Every source is as likely for every target; each is used equally often."""

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> IntArray:
        repeats = -(-len(z_1) // len(z_0))
        order = np.concatenate([rng.permutation(len(z_0)) for _ in range(repeats)])
        return order[: len(z_1)].astype(np.int64)


@dataclass(frozen=True, slots=True)
class ExactCoupling:
    """Optimal transport for squared Euclidean cost (Tong et al. 2024, minibatch OT-CFM)."""

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> IntArray:
        return draw_sources(exact_plan(squared_distances(z_0, z_1)), rng)


@dataclass(frozen=True, slots=True)
class SinkhornCoupling:
    """Entropic optimal transport; `reg` is in units of the mean cost of the group."""

    reg: float
    max_iterations: int

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> IntArray:
        cost = squared_distances(z_0, z_1)
        scale = float(cost.mean()) or 1.0  # all cells alike: every plan costs nothing
        return draw_sources(sinkhorn_plan(cost, self.reg * scale, self.max_iterations), rng)


def draw_sources(plan: Matrix, rng: np.random.Generator) -> IntArray:
    """(M,) one row per column j of the (N, M) plan, drawn with probabilities ``plan[:, j] / plan[:, j].sum()``."""
    cumulative = plan.cumsum(axis=0)
    thresholds = rng.random(plan.shape[1]) * cumulative[-1]
    drawn: IntArray = (cumulative <= thresholds).sum(axis=0).clip(max=len(plan) - 1).astype(np.int64)
    return drawn
