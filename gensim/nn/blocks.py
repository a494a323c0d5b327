"""Layers whose weights come from a given generator, and the residual block that conditions modulate."""

import math

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional
from torch.nn.utils import skip_init


def linear(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    """A linear layer without weights; `initialise` fills it, so that no global generator is drawn from."""
    layer: nn.Linear = skip_init(nn.Linear, n_in, n_out, bias=bias)  # type: ignore[no-untyped-call]
    return layer


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Fill every linear layer uniformly within ±1/√fan-in (torch's own default), in the order of the module's names."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in layer.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)


def zero(layer: nn.Linear) -> None:
    """Make a linear layer return 0, so that the branch behind it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class TimeFeatures(nn.Module):
    """t in [0, 1] to sines and cosines at `n_features / 2` frequencies from 1/2 to 32 periods, geometrically spaced."""

    frequencies: torch.Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        periods = torch.logspace(-1, 5, n_features // 2, base=2.0)
        self.register_buffer("frequencies", 2 * math.pi * periods, persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """(B,) to (B, n_features)."""
        angles = rearrange(t, "b -> b 1") * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ModulatedBlock(nn.Module):
    """Residual MLP block with adaLN-zero conditioning (Peebles & Xie 2023, section 3.2): identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = linear(width, 3 * width)
        self.up = linear(width, 2 * width)
        self.down = linear(2 * width, width)

    def reset(self) -> None:
        zero(self.modulation)

    def forward(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """(B, W) features and (B, W) condition to (B, W)."""
        shift, scale, gate = rearrange(self.modulation(functional.silu(c)), "b (k w) -> k b w", k=3)
        normalised = functional.layer_norm(h, h.shape[-1:])
        update: torch.Tensor = self.down(functional.silu(self.up(normalised * (1 + scale) + shift)))
        gated: torch.Tensor = h + gate * update
        return gated
