"""Solvers of dz = drift(t, z) dt + diffusion(t, z) dW on [0, 1], in Itô's sense."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from gensim.solvers.base import EqualSteps, require_sde
from gensim.types import Dynamics, StepNoise


@dataclass(frozen=True, slots=True)
class EulerMaruyama(EqualSteps):
    """z_{k+1} = z_k + h drift(t_k, z_k) + √h diffusion(t_k, z_k) noise(k)    (Kloeden & Platen 1992, section 10.2).

    `order` is that of the paths themselves (strong) where the diffusion does not depend on z, as in the transports
    here; where it does, it is 1/2.
    """

    order: ClassVar[int | None] = 1

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:
        diffusion = require_sde(dynamics, type(self).__name__)
        h = 1.0 / self.n_steps
        for k, t in enumerate(self.times(z)):
            z = z + h * dynamics.drift(t, z) + math.sqrt(h) * diffusion(t, z) * noise(k)
        return z
