"""The set transformer: a field that looks at the population of control cells, not at one cell alone."""

import torch
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional

from gensim.nn.blocks import Attention, initialise, linear
from gensim.nn.field import ConditionalField
from gensim.nn.residual_mlp import ResidualMLP
from gensim.types import ControlBatch


class AttentionBlock(nn.Module):
    """MAB, the multihead attention block (Lee et al. 2019, section 3.1, eq. 6-7).

    MAB(X, Y) = layer_norm(H + rFF(H)),    H = layer_norm(X + Attention(X, Y))
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, n_heads)
        self.up = linear(width, 2 * width)
        self.down = linear(2 * width, width)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(S, n, W) that look at (S, m, W), to (S, n, W)."""
        h = functional.layer_norm(x + self.attention(x, y), x.shape[-1:])
        return functional.layer_norm(h + self.down(functional.silu(self.up(h))), h.shape[-1:])


class InducedSummary(nn.Module):
    """H = MAB(I, X): what learned vectors I find in a set X, in any order of its cells (Lee et al. 2019, eq. 10)."""

    def __init__(self, width: int, n_inducing: int, n_heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.inducing = nn.Parameter(torch.randn(n_inducing, width, generator=generator))
        self.block = AttentionBlock(width, n_heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(S, M, W) to (S, n_inducing, W)."""
        summary: torch.Tensor = self.block(repeat(self.inducing, "n w -> s n w", s=len(x)), x)
        return summary


class PopulationEncoder(nn.Module):
    """A population to `n_inducing` summaries of it, in time linear in its cells.

        X = embed(population),    X' = MAB(X, H),    H = MAB(I, X),    summaries = MAB(I', X')

    The middle two are an induced set attention block (Lee et al. 2019, eq. 9-10): each cell sees all others.
    """

    def __init__(self, n_latents: int, width: int, n_inducing: int, n_heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embed = linear(n_latents, width)
        self.induced = InducedSummary(width, n_inducing, n_heads, generator)
        self.cells = AttentionBlock(width, n_heads)
        self.summary = InducedSummary(width, n_inducing, n_heads, generator)

    def forward(self, population: torch.Tensor) -> torch.Tensor:
        """(S, M, D) to (S, n_inducing, W)."""
        x = self.embed(population)
        x = self.cells(x, self.induced(x))
        summaries: torch.Tensor = self.summary(x)
        return summaries


class SetTransformer(ConditionalField):
    """Residual MLP whose context also holds the population's mean and what the cell found in it beyond that.

        context = [own, layer_norm(Attention(question(own), summaries(population))), mean(population)]

    The mean stands there as it is because attention learns it late; the layer norm keeps what was found from
    outgrowing all else in the context. `own` is the context of a field that looks at no population, and holds the
    control cell only where `sees_control`. The order of the cells in a population does not matter; which other
    populations are there, and in which order, matters by rounding at most.

    Args:
        n_latents: D.
        n_features: C condition features.
        n_outputs: O.
        sees_control: whether the context holds the control cell.
        n_inducing: summaries of a population.
        n_heads: of the attention; divides the width.
        population_cells: control cells of a population to look at; more tell more, at a cost linear in them.

    Raises:
        ValueError: width is no multiple of n_heads.
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
        n_inducing: int = 16,
        n_heads: int = 4,
        population_cells: int = 64,
    ) -> None:
        super().__init__(sees_control)
        self.population_cells = population_cells
        self.population = PopulationEncoder(n_latents, width, n_inducing, n_heads, generator)
        self.question = linear(n_features + (n_latents if sees_control else 0), width)
        self.answer = Attention(width, n_heads)
        initialise(self, generator)
        self.trunk = ResidualMLP(
            n_latents,
            n_features + width + n_latents,
            n_outputs,
            sees_control=sees_control,
            width=width,
            n_blocks=n_blocks,
            generator=generator,
        )

    def context(self, features: torch.Tensor, controls: ControlBatch) -> torch.Tensor:
        """(B, C) condition features and B control cells with their populations to (B, C') context.

        Raises:
            ValueError: the populations hold no cells.
        """
        if controls.population.shape[1] == 0:
            raise ValueError(
                f"the populations have shape {tuple(controls.population.shape)}, with no cells to look at; "
                f"draw {self.population_cells} control cells for each (population_cells of the sampler)"
            )
        own = super().context(features, controls)
        summaries = self.population(controls.population)
        found = self.answer(rearrange(self.question(own), "b w -> b 1 w"), summaries, controls.population_of)
        found = functional.layer_norm(rearrange(found, "b 1 w -> b w"), found.shape[-1:])
        return torch.cat([own, found, controls.population.mean(dim=1)[controls.population_of]], dim=1)

    def forward(self, z_t: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.trunk(z_t, t, context)
        return outputs
