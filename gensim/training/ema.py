"""Exponential moving average of the weights, with a half-life counted in cells seen."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


class ExponentialMovingAverage(Generic[Module]):
    """``average ← average + (1 - decay) (weight - average)``, where the decay rises so that the start is forgotten.

    Args:
        module: whose parameters are followed; `self.module` is a copy that holds the averages.
        half_life_cells: after so many cells the past weighs one half; early on it is a tenth of the cells seen (the
            average follows a share of the run, as in Karras et al. 2024, EDM2, section 3.1).
    """

    def __init__(self, module: Module, half_life_cells: int) -> None:
        self.half_life_cells = half_life_cells
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, cells_seen: int, cells_in_step: int) -> None:
        half_life = min(self.half_life_cells, max(cells_seen / 10, 1))
        weight = 1 - 0.5 ** (cells_in_step / half_life)
        for average, parameter in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(parameter.detach(), weight)
