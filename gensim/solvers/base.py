"""What every solver offers: it carries cells along `Dynamics` from t = 0 to t = 1, and sees nothing else."""

from dataclasses import dataclass
from typing import Protocol

import torch

from gensim.types import Dynamics, StepNoise, VectorField


class Solver(Protocol):
    @property
    def order(self) -> int | None:
        """Error falls as (1 / n_steps)**order for smooth drifts; None where steps adapt."""

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:
        """(B, D) cells at t = 0 to (B, D) cells at t = 1; solvers without randomness ask for no `noise`."""


@dataclass(frozen=True, slots=True)
class EqualSteps:
    """`n_steps` equal steps from t = 0 to t = 1."""

    n_steps: int

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ValueError(f"n_steps is {self.n_steps}; at least 1 step leads from t = 0 to t = 1")

    def times(self, z: torch.Tensor) -> torch.Tensor:
        """(n_steps,) times at which the steps begin, of the type and on the device of `z`."""
        return torch.linspace(0.0, 1.0, self.n_steps + 1, dtype=z.dtype, device=z.device)[:-1]


def require_ode(dynamics: Dynamics, solver: str) -> None:
    """Refuse dynamics with a noise term.

    Raises:
        ValueError: an ODE solver would drop the diffusion, and with it the spread of the population.
    """
    if dynamics.diffusion is not None:
        raise ValueError(f"{solver} integrates dz = drift dt only; these dynamics have a diffusion, use an SDE solver")


def require_sde(dynamics: Dynamics, solver: str) -> VectorField:
    """The diffusion of the dynamics.

    Raises:
        ValueError: there is none, so that nothing says how far the noise of an SDE solver should carry a cell.
    """
    if dynamics.diffusion is None:
        raise ValueError(
            f"{solver} integrates dz = drift dt + diffusion dW; these dynamics have no diffusion, so nothing scales "
            "dW: use an ODE solver"
        )
    return dynamics.diffusion
