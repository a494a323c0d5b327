"""The conditional vector field that all transports share."""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from gensim.nn.blocks import ModulatedBlock, TimeFeatures, initialise, linear, zero

N_TIME_FEATURES = 32


class ConditionalField(Protocol):
    def __call__(self, z_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, D) cells at times (B,) under (B, C) condition features, to (B, D)."""


class ResidualMLP(nn.Module):
    """Residual MLP over one cell, conditioned on time and condition by adaLN-zero; returns 0 before any training."""

    def __init__(
        self, n_latents: int, n_condition_features: int, width: int, n_blocks: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.time = TimeFeatures(N_TIME_FEATURES)
        self.condition = nn.Sequential(
            linear(N_TIME_FEATURES + n_condition_features, width), nn.SiLU(), linear(width, width)
        )
        self.input = linear(n_latents, width)
        blocks = [ModulatedBlock(width) for _ in range(n_blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.output = linear(width, n_latents)
        initialise(self, generator)
        for block in blocks:
            block.reset()
        zero(self.output)

    def forward(self, z_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        c = self.condition(torch.cat([self.time(t), condition], dim=1))
        h = self.input(z_t)
        for block in self.blocks:
            h = block(h, c)
        velocity: torch.Tensor = self.output(functional.layer_norm(h, h.shape[-1:]))
        return velocity
