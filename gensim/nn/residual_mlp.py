"""The residual MLP: the plain member of the fields."""

import torch
from torch import nn
from torch.nn import functional

from gensim.nn.blocks import N_TIME_FEATURES, ModulatedBlock, TimeFeatures, initialise, linear, zero
from gensim.nn.field import ConditionalField


class ResidualMLP(ConditionalField):
    """Residual MLP over one cell, conditioned on time and context by adaLN-zero.

    Args:
        n_latents: D.
        n_features: C condition features.
        n_outputs: O.
        sees_control: whether the context holds the control cell.
    """

    def __init__(
        self,
        n_latents: int,
        n_features: int,
        n_outputs: int,
        *,
        sees_control: bool,
        width: int,
        n_blocks: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__(sees_control)
        self.time = TimeFeatures(N_TIME_FEATURES)
        n_context = n_features + (n_latents if sees_control else 0)
        self.condition = nn.Sequential(linear(N_TIME_FEATURES + n_context, width), nn.SiLU(), linear(width, width))
        self.input = linear(n_latents, width)
        blocks = [ModulatedBlock(width) for _ in range(n_blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.output = linear(width, n_outputs)
        initialise(self, generator)
        for block in blocks:
            block.reset()
        zero(self.output)

    def forward(self, z_t: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        c = self.condition(torch.cat([self.time(t), context], dim=1))
        h = self.input(z_t)
        for block in self.blocks:
            h = block(h, c)
        outputs: torch.Tensor = self.output(functional.layer_norm(h, h.shape[-1:]))
        return outputs.to(z_t.dtype)
