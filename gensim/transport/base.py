"""What every transport offers; training, sampling and validation know nothing else of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from gensim.types import ConditionBatch, ControlBatch, Dynamics, PairBatch


@dataclass(frozen=True, slots=True)
class Draws:
    """The randomness of a training batch, given so that it belongs to the pair and not to the process.

    Args:
        t: (B,) uniform on [0, 1).
        eps: (B, D) standard normal, for the start.
        path: (B, D) standard normal, for the width of the path between start and end.
    """

    t: torch.Tensor
    eps: torch.Tensor
    path: torch.Tensor

    def __getitem__(self, index: torch.Tensor | slice) -> "Draws":
        return Draws(self.t[index], self.eps[index], self.path[index])


class Transport(nn.Module, ABC):
    """Carries control cells (t = 0) to perturbed cells (t = 1) in the latent space, under a condition."""

    @abstractmethod
    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        """Scalar to minimise: a mean over the pairs."""

    @abstractmethod
    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:
        """B control cells under B conditions and (B, D) standard normal draws to (B, D) z_0."""

    @abstractmethod
    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        """What a solver integrates from z_0 to z_1, for B control cells under B conditions."""

    @abstractmethod
    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        """How much of z_1 the mean of the path holds at the scalar time t: rises to 1, or as near as the path ends."""

    def forward(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        """The loss, under the name that data-parallel wrappers call."""
        return self.loss(pairs, draws)
