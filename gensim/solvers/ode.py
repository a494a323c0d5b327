"""Solvers of dz/dt = drift(t, z) on [0, 1]: fixed steps by default, torchdiffeq's methods behind the same interface.

With fixed steps a cell's path depends on that cell alone; an adaptive method takes its error norm over the whole
batch, so that a cell's path depends a little on its batch-mates.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torchdiffeq import odeint

from gensim.errors import ConfigError, nearest
from gensim.solvers.base import EqualSteps, require_ode
from gensim.types import Dynamics, StepNoise, VectorField

METHODS = (
    "dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun", "euler", "midpoint", "heun2", "heun3", "rk4",
    "implicit_adams", "fixed_adams",
)  # fmt: skip
"""Those of torchdiffeq 0.2.4 and later, without `scipy_solver`, which leaves the device, and `explicit_adams`, whose
order rises to 12 and which then is unstable: of dz = -z dt it makes 7.4 in 100 steps from 1, not exp(-1)."""


@dataclass(frozen=True, slots=True)
class FixedStep(EqualSteps, ABC):
    """Steps of one evaluation or two of the drift."""

    order: ClassVar[int | None] = None

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:  # noqa: ARG002
        require_ode(dynamics, type(self).__name__)
        h = 1.0 / self.n_steps
        for t in self.times(z):
            z = z + h * self.slope(dynamics.drift, t, z, h)
        return z

    @abstractmethod
    def slope(self, drift: VectorField, t: torch.Tensor, z: torch.Tensor, h: float) -> torch.Tensor:
        """Mean slope over the step from t to t + h."""


@dataclass(frozen=True, slots=True)
class Euler(FixedStep):
    order: ClassVar[int | None] = 1

    def slope(self, drift: VectorField, t: torch.Tensor, z: torch.Tensor, h: float) -> torch.Tensor:  # noqa: ARG002
        return drift(t, z)


@dataclass(frozen=True, slots=True)
class Midpoint(FixedStep):
    order: ClassVar[int | None] = 2

    def slope(self, drift: VectorField, t: torch.Tensor, z: torch.Tensor, h: float) -> torch.Tensor:
        return drift(t + h / 2, z + h / 2 * drift(t, z))


@dataclass(frozen=True, slots=True)
class Heun(FixedStep):
    order: ClassVar[int | None] = 2

    def slope(self, drift: VectorField, t: torch.Tensor, z: torch.Tensor, h: float) -> torch.Tensor:
        k_1 = drift(t, z)
        return (k_1 + drift(t + h, z + h * k_1)) / 2


@dataclass(frozen=True, slots=True)
class TorchDiffEq:
    """Any method of torchdiffeq (Chen et al. 2018); `tolerance` serves as rtol and atol of the adaptive ones."""

    method: str
    tolerance: float
    n_steps: int
    order: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"solver.method={self.method!r} is no method of torchdiffeq{nearest(self.method, METHODS)}; "
                f"it is one of {', '.join(METHODS)}"
            )

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:  # noqa: ARG002
        """Raises ConfigError where the steps of an adaptive method shrink to nothing."""
        require_ode(dynamics, type(self).__name__)
        times = torch.linspace(0.0, 1.0, self.n_steps + 1, dtype=z.dtype, device=z.device)
        try:
            path: torch.Tensor = odeint(
                dynamics.drift, z, times, method=self.method, rtol=self.tolerance, atol=self.tolerance
            )
        except AssertionError as error:  # torchdiffeq's way to say that a step underflows
            raise ConfigError(
                f"solver.method={self.method} cannot reach solver.tolerance={self.tolerance:g} ({error}); "
                "raise the tolerance, or use solver.kind=midpoint"
            ) from error
        return path[-1]
