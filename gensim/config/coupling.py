"""Which control cell is paired with which perturbed cell."""

from typing import Literal

from pydantic import Field

from gensim.config.section import PositiveInt, Section


class CouplingSection(Section):
    """Which control cell is paired with which perturbed cell, inside a group of context, perturbation and batch."""

    cost: Literal["latent", "after_mean_effect"] = "after_mean_effect"
    """Squared distance between latents, or between what is left once the mean effect is taken from the target."""
    cells_per_plan: PositiveInt = 1024
    """Cells of a group that one plan couples; smaller groups are coupled whole."""
    plan_reuse: PositiveInt = 32
    """Times that a plan's pairs are used on average before the plan is drawn anew."""


class IndependentCouplingConfig(CouplingSection):
    kind: Literal["independent"]


class ExactCouplingConfig(CouplingSection):
    kind: Literal["exact"] = "exact"


class SinkhornCouplingConfig(CouplingSection):
    kind: Literal["sinkhorn"]
    reg: float = Field(0.05, gt=0)
    """Entropic regularisation in units of the mean squared distance of the group."""
    max_iterations: PositiveInt = 1000


class BridgeCouplingConfig(CouplingSection):
    """Entropic with reg = 2 sigma², the coupling that belongs to a Schrödinger bridge; sigma is the transport's."""

    kind: Literal["bridge"]
    max_iterations: PositiveInt = 5000


class UnbalancedCouplingConfig(CouplingSection):
    """Entropic with marginals that may be missed: cells without a counterpart stay out."""

    kind: Literal["unbalanced"]
    reg: float = Field(0.05, gt=0)
    """Entropic regularisation in units of the mean squared distance of the group."""
    reg_marginal: float = Field(1.0, gt=0)
    """Price of missing the marginals (Kullback-Leibler), in the same units; large: balanced."""
    max_iterations: PositiveInt = 1000


class PartialCouplingConfig(CouplingSection):
    """Exact, of a share of the cells only: those that are cheapest to pair."""

    kind: Literal["partial"]
    mass: float = Field(0.9, gt=0, le=1)


class GaussianCouplingConfig(CouplingSection):
    """The closed-form map between Gaussians fitted to both sides, then the nearest mapped source."""

    kind: Literal["gaussian"]


CouplingConfig = (
    IndependentCouplingConfig
    | ExactCouplingConfig
    | SinkhornCouplingConfig
    | BridgeCouplingConfig
    | UnbalancedCouplingConfig
    | PartialCouplingConfig
    | GaussianCouplingConfig
)
