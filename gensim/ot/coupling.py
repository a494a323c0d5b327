"""Couplings: which source cell is paired with which target cell. They return indices, never moved cells."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gensim.ot.plans import Matrix, exact_plan, mean_cost, sinkhorn_plan, squared_distances
from gensim.types import IntArray

Cells = NDArray[np.floating]


class Pairs(NamedTuple):
    """Row `source[i]` of the source cells goes with row `target[i]` of the target cells; (n,) int64 each."""

    source: IntArray
    target: IntArray


class Coupling(Protocol):
    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        """As many pairs as there are targets.

        Args:
            z_0: (N, D) source cells; z_1: (M, D) target cells, both of one group.
            rng: decides what the plan leaves open.

        Returns:
            M pairs. A coupling whose plan uses all of every target gives each target one pair, in order; one that
            leaves mass out gives some targets none and others several.

        Raises:
            TrainingError: there is no usable plan; says why and what to change.
        """


@dataclass(frozen=True, slots=True)
class IndependentCoupling:
    """Every source is as likely for every target; each is used equally often."""

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        repeats = -(-len(z_1) // len(z_0))
        order = np.concatenate([rng.permutation(len(z_0)) for _ in range(repeats)])
        return for_every_target(order[: len(z_1)])


@dataclass(frozen=True, slots=True)
class ExactCoupling:
    """Optimal transport for squared Euclidean cost (Tong et al. 2024, minibatch OT-CFM)."""

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        return for_every_target(draw_sources(exact_plan(squared_distances(z_0, z_1)), rng))


@dataclass(frozen=True, slots=True)
class SinkhornCoupling:
    """Entropic optimal transport; `reg` is in units of the mean cost of the group."""

    reg: float
    max_iterations: int

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        cost = squared_distances(z_0, z_1)
        return for_every_target(draw_sources(sinkhorn_plan(cost, self.reg * mean_cost(cost), self.max_iterations), rng))


@dataclass(frozen=True, slots=True)
class BridgeCoupling:
    """The ends of a Schrödinger bridge whose reference is Brownian motion ``sigma W_t``.

    Entropic optimal transport for squared cost with ``reg = 2 sigma²`` (Tong et al. 2024, section 3.4).

    Args:
        sigma: diffusion of the bridge, in latent units; the same as the transport's.
    """

    sigma: float
    max_iterations: int

    def __call__(self, z_0: Cells, z_1: Cells, rng: np.random.Generator) -> Pairs:
        plan = sinkhorn_plan(squared_distances(z_0, z_1), 2 * self.sigma**2, self.max_iterations)
        return for_every_target(draw_sources(plan, rng))


def for_every_target(source: IntArray) -> Pairs:
    """Target j with ``source[j]``."""
    return Pairs(source.astype(np.int64), np.arange(len(source), dtype=np.int64))


def draw_sources(plan: Matrix, rng: np.random.Generator) -> IntArray:
    """(M,) one row per column j of the (N, M) plan, drawn with probabilities ``plan[:, j] / plan[:, j].sum()``."""
    cumulative = plan.cumsum(axis=0)
    thresholds = rng.random(plan.shape[1]) * cumulative[-1]
    drawn: IntArray = (cumulative <= thresholds).sum(axis=0).clip(max=len(plan) - 1).astype(np.int64)
    return drawn
