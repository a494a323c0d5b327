"""What every conditional field offers; all transports share them."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from gensim.types import ControlBatch


class ConditionalField(nn.Module, ABC):
    """(z_t, t, context) -> one or more vectors per cell, all 0 before any training.

    The context of a cell is computed once, before its path is solved; `forward` runs at every step.

    Args:
        sees_control: whether the context holds the control cell.
    """

    population_cells: int = 0
    """Control cells of a population that `context` looks at."""

    def __init__(self, sees_control: bool) -> None:
        super().__init__()
        self.sees_control = sees_control

    def context(self, features: torch.Tensor, controls: ControlBatch) -> torch.Tensor:
        """(B, C) condition features and B control cells to (B, C') context."""
        return torch.cat([features, controls.z], dim=1) if self.sees_control else features

    @abstractmethod
    def forward(self, z_t: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """(B, D) cells at times (B,) under (B, C') contexts, to (B, O) outputs."""
