"""What every solver offers: it carries cells along `Dynamics` from t = 0 to t = 1, and sees nothing else."""

from typing import ClassVar, Protocol

import torch

from gensim.types import Dynamics, StepNoise


class Solver(Protocol):
    order: ClassVar[int | None]
    """Error falls as (1 / n_steps)**order for smooth drifts; None where steps adapt."""

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:
        """(B, D) cells at t = 0 to (B, D) cells at t = 1; solvers without randomness ask for no `noise`."""


def require_ode(dynamics: Dynamics, solver: str) -> None:
    """Refuse dynamics with a noise term.

    Raises:
        ValueError: an ODE solver would drop the diffusion, and with it the spread of the population.
    """
    if dynamics.diffusion is not None:
        raise ValueError(f"{solver} integrates dz = drift dt only; these dynamics have a diffusion, use an SDE solver")
