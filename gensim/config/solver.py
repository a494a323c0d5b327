"""How the equation of a transport is solved."""

from typing import Literal

from pydantic import Field

from gensim.config.section import PositiveInt, Section

ODE_SOLVERS = ("euler", "midpoint", "heun", "torchdiffeq")
DENOISING_ODE_SOLVERS = ("ddim", "dpm_2m")
DENOISING_SDE_SOLVERS = ("ancestral",)
SDE_SOLVERS = ("euler_maruyama",)


class SolverConfig(Section):
    kind: Literal["euler", "midpoint", "heun", "torchdiffeq", "euler_maruyama", "ddim", "dpm_2m", "ancestral"] = (
        "midpoint"
    )
    """Left out, it is the one that suits the transport: midpoint, euler_maruyama, dpm_2m or ancestral."""
    n_steps: PositiveInt = 8
    """Left out, it is what suits the kind."""
    method: str = "dopri5"
    """torchdiffeq's method name; the other kinds ignore it."""
    tolerance: float = Field(1e-4, gt=0)
    """Relative and absolute tolerance of torchdiffeq's adaptive methods."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the network's matrix products; cells are summed up in float32. auto is bf16 for fixed steps where the device
    multiplies it natively, and float32 elsewhere."""
    compile: bool = False
    """Compile the network first, which takes up to a minute; no gain was measured on CPUs."""


ADAPTIVE_METHODS = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
"""Of torchdiffeq: they choose their steps themselves."""
