"""What every transport offers; training, sampling and validation know nothing else of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from gensim.types import ConditionBatch, Dynamics, PairBatch


@dataclass(frozen=True, slots=True)
class Draws:
    """The randomness of a training batch, given so that it belongs to the pair and not to the process.

    Args:
        t: (B,) uniform on [0, 1).
        eps: (B, D) standard normal.
    """

    t: torch.Tensor
    eps: torch.Tensor


class Transport(nn.Module, ABC):
    """Carries control cells (t = 0) to perturbed cells (t = 1) in the latent space, under a condition."""

    @abstractmethod
    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        """Scalar to minimise: a mean over the pairs."""

    @abstractmethod
    def start(self, z_control: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """(B, D) control latents and (B, D) standard normal draws to (B, D) z_0."""

    @abstractmethod
    def dynamics(self, z_control: torch.Tensor, condition: ConditionBatch) -> Dynamics:
        """What a solver integrates from z_0 to z_1, for B control cells under B conditions."""

    def forward(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        """The loss, under the name that data-parallel wrappers call."""
        return self.loss(pairs, draws)
