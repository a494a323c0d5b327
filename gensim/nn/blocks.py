"""Layers whose weights come from a given generator, attention, and residual branches that conditions modulate."""

import math
from abc import ABC, abstractmethod

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional
from torch.nn.utils import skip_init

N_TIME_FEATURES = 32
"""Time features that every field conditions on."""


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


class Attention(nn.Module):
    """Multihead attention (Vaswani et al. 2017, section 3.2): each row of x gathers what it seeks in the rows of y.

        head_i = softmax(Q_i K_i^T / sqrt(W / n_heads)) V_i,    out = [head_1, ..., head_n] W_O + b

    Keys and values have no bias: the softmax cancels the one, and b holds the other.

    Raises:
        ValueError: the width is no multiple of n_heads.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(
                f"width is {width} and n_heads is {n_heads}; heads share the width evenly: "
                "make width a multiple of n_heads"
            )
        self.n_heads = n_heads
        self.query = linear(width, width)
        self.key_value = linear(width, 2 * width, bias=False)
        self.output = linear(width, width)

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, y_of: torch.Tensor | None = None, there: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, n, W) that look at (B, m, W), to (B, n, W).

        Args:
            y_of: (B,) int64, which of the sets y (S, m, W) each looks at; None where set i looks at set i.
            there: (B, m) bool, which rows of y can be seen, at least one of each set; None for all.
        """
        q = rearrange(self.query(x), "b n (h w) -> b h n w", h=self.n_heads)
        k, v = rearrange(self.key_value(y), "b m (k h w) -> k b h m w", k=2, h=self.n_heads)
        if y_of is not None:
            k, v = k[y_of], v[y_of]
        mask = None if there is None else rearrange(there, "b m -> b 1 1 m")
        heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: torch.Tensor = self.output(rearrange(heads, "b h n w -> b n (h w)"))
        return out


class Modulated(nn.Module, ABC):
    """Residual branch with adaLN-zero conditioning (Peebles & Xie 2023, section 3.2): identity at the start.

    h + gate(c) * branch(layer_norm(h) (1 + scale(c)) + shift(c))
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = linear(width, 3 * width)

    def reset(self) -> None:
        zero(self.modulation)

    @abstractmethod
    def branch(self, h: torch.Tensor) -> torch.Tensor:
        """Modulated features to their update, in the same shape."""

    def forward(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """(..., W) features and (..., W) condition, of shapes that broadcast, to (..., W)."""
        shift, scale, gate = rearrange(self.modulation(functional.silu(c)), "... (k w) -> k ... w", k=3)
        normalised = functional.layer_norm(h, h.shape[-1:])
        gated: torch.Tensor = h + gate * self.branch(normalised * (1 + scale) + shift)
        return gated


class ModulatedBlock(Modulated):
    """A modulated MLP, on every row alone."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.up = linear(width, 2 * width)
        self.down = linear(2 * width, width)

    def branch(self, h: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self.down(functional.silu(self.up(h)))
        return update


class ModulatedAttention(Modulated):
    """Modulated attention among the tokens of a cell: features are (B, n, W)."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__(width)
        self.attention = Attention(width, n_heads)

    def branch(self, h: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self.attention(h, h)
        return update
