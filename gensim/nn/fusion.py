"""The members of a combination, known from several tables, to one vector: deep sets, or attention."""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional

from gensim.nn.blocks import Attention, initialise, linear

N_HEADS = 4


class DeepSets(nn.Module):
    """sum_p MLP(vector of p) over the members p of a combination (Zaheer et al. 2017, theorem 2), in any order.

    The field that the sum goes to is the function of the sum. An absent member adds nothing.

    Args:
        n_columns: of the vectors, all tables side by side.
        width: of the result, and of the hidden layer.
        generator: for the initial weights.
    """

    def __init__(self, n_columns: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.up, self.down = linear(n_columns, width), linear(width, width)
        initialise(self, generator)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, P, n_columns) vectors, 0 where there is no member, to (B, width)."""
        there = (vectors != 0).any(dim=2, keepdim=True)
        members: torch.Tensor = self.down(functional.silu(self.up(vectors))) * there
        return members.sum(dim=1)


class VectorFusion(nn.Module):
    """Attention over the members of a combination, each known from some of S tables, in any order.

        tokens = [CLS, context, project_s(vector of p in table s) + name_s  for every member p and table s that has it]
        h = CLS + Attention(layer_norm(CLS), layer_norm(tokens)),    out = W (h + MLP(layer_norm(h)))

    What a table lacks is not there, and is not a row of zeros among the others.

    Args:
        widths: columns of each table.
        n_context: context features.
        width: of tokens and of the result, a multiple of four.
        generator: for the initial weights.
    """

    def __init__(self, widths: Sequence[int], n_context: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.widths = list(widths)
        self.projects = nn.ModuleList(linear(n, width, bias=False) for n in widths)
        self.context = linear(n_context, width) if n_context else None
        self.attention = Attention(width, N_HEADS)
        self.up, self.down = linear(width, 2 * width), linear(2 * width, width)
        self.output = linear(width, width, bias=False)
        initialise(self, generator)
        self.names = nn.Parameter(torch.randn(len(self.widths), width, generator=generator) / width**0.5)
        self.summary = nn.Parameter(torch.randn(width, generator=generator) / width**0.5)

    def forward(self, vectors: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """(B, P, sum of widths) vectors, 0 where a table lacks a member or there is none, and (B, C) context features,
        to (B, width)."""
        tokens, there = [], []
        parts = torch.split(vectors, self.widths, dim=2)
        for part, project, name in zip(parts, self.projects, self.names, strict=True):
            tokens.append(project(part) + name)
            there.append((part != 0).any(dim=2))
        seen, known = torch.cat(tokens, dim=1), torch.cat(there, dim=1)
        summary = repeat(self.summary, "w -> b 1 w", b=len(vectors))
        always = [summary] if self.context is None else [summary, rearrange(self.context(context), "b w -> b 1 w")]
        seen = torch.cat([*always, seen], dim=1)
        known = torch.cat([known.new_ones(len(known), len(always)), known], dim=1)
        shape = summary.shape[-1:]
        h = summary + self.attention(
            functional.layer_norm(summary, shape), functional.layer_norm(seen, shape), there=known
        )
        h = h + self.down(functional.silu(self.up(functional.layer_norm(h, shape))))
        fused: torch.Tensor = self.output(rearrange(h, "b 1 w -> b w"))
        return fused
