"""The latent transformer: a cell's latents as tokens that look at each other."""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional

from gensim.nn.blocks import (
    N_TIME_FEATURES,
    ModulatedAttention,
    ModulatedBlock,
    TimeFeatures,
    initialise,
    linear,
    zero,
)
from gensim.nn.field import ConditionalField


class LatentTransformer(ConditionalField):
    """Transformer over the D latents of one cell, conditioned on time and condition by adaLN-zero (DiT).

        token_d = z_t[d] u + control[d] u' + p_d

    with vectors u, u' and p_d that are learned; u' where the control cell is seen. A block is attention among the
    tokens, then an MLP on each. All that tells two latents apart is p. Source: Peebles & Xie 2023, section 3.2.

    Args:
        n_latents: D.
        n_features: C condition features.
        n_outputs: O, a multiple of D: [first D, next D, ...].
        sees_control: whether the tokens hold the control cell.
        n_heads: of the attention; divides the width.

    Raises:
        ValueError: n_outputs is no multiple of n_latents, or width none of n_heads.
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
        n_heads: int = 4,
    ) -> None:
        super().__init__(sees_control)
        if n_outputs % n_latents:
            raise ValueError(
                f"n_outputs is {n_outputs} and n_latents is {n_latents}; every latent has equally many outputs: "
                "make n_outputs a multiple of n_latents"
            )
        self.n_features = n_features
        self.time = TimeFeatures(N_TIME_FEATURES)
        self.condition = nn.Sequential(linear(N_TIME_FEATURES + n_features, width), nn.SiLU(), linear(width, width))
        self.value = linear(1 + sees_control, width, bias=False)
        self.position = nn.Parameter(torch.randn(n_latents, width, generator=generator))
        blocks = [part for _ in range(n_blocks) for part in (ModulatedAttention(width, n_heads), ModulatedBlock(width))]
        self.blocks = nn.ModuleList(blocks)
        self.output = linear(width, n_outputs // n_latents)
        initialise(self, generator)
        for block in blocks:
            block.reset()
        zero(self.output)

    def forward(self, z_t: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        features, control = context[:, : self.n_features], context[:, self.n_features :]
        c = rearrange(self.condition(torch.cat([self.time(t), features], dim=1)), "b w -> b 1 w")
        values = torch.cat([z_t, control], dim=1)
        h = self.value(rearrange(values, "b (k d) -> b d k", d=z_t.shape[1])) + self.position
        for block in self.blocks:
            h = block(h, c)
        outputs: torch.Tensor = self.output(functional.layer_norm(h, h.shape[-1:]))
        return rearrange(outputs, "b d k -> b (k d)").to(z_t.dtype)
