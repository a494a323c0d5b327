"""The network that a transport learns."""

from typing import Literal

from gensim.config.section import PositiveInt, Section


class ResidualMLPConfig(Section):
    kind: Literal["residual_mlp"] = "residual_mlp"
    width: PositiveInt = 256
    n_blocks: PositiveInt = 3


class LatentTransformerConfig(Section):
    """Latents as tokens."""

    kind: Literal["latent_transformer"]
    width: PositiveInt = 64
    n_blocks: PositiveInt = 3
    n_heads: PositiveInt = 4


class SetTransformerConfig(Section):
    """A residual MLP that is told of the population of control cells."""

    kind: Literal["set_transformer"]
    width: PositiveInt = 256
    n_blocks: PositiveInt = 3
    n_heads: PositiveInt = 4
    n_inducing: PositiveInt = 16
    population_cells: PositiveInt = 64
    """Control cells of the context that are looked at."""


FieldConfig = ResidualMLPConfig | LatentTransformerConfig | SetTransformerConfig
