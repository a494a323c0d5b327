"""How long, how fast, in what portions."""

from typing import Literal

from pydantic import Field

from gensim.config.section import PositiveInt, Section


class TrainingConfig(Section):
    cells_per_group: PositiveInt = 64
    """Pairs drawn from one group of context, perturbation and batch in a slot of a step."""
    groups_per_step: PositiveInt = 8
    """Groups drawn in one optimiser step, over all processes together."""
    rare_condition_power: float = Field(0.5, ge=0, le=1)
    """Groups are drawn in proportion to (number of cells)**power: 0 all alike, 1 by size."""
    label_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the pairs whose context is hidden (and whose batch is), so that unknown ones can be simulated."""
    condition_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pairs of which nothing is shown, so that guidance can be used in sampling."""
    reflow_cells: int = Field(0, ge=0)
    """Pairs of a second stage that straightens the flow, so that fewer steps suffice; 0 for none."""
    max_cells: PositiveInt = 1_000_000
    """Pairs seen in training at most; also the length of the cosine schedule."""
    warmup_cells: PositiveInt = 20_000
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    max_gradient_norm: float = Field(1.0, gt=0)
    ema_half_life_cells: PositiveInt = 50_000
    mixed_precision: Literal["no", "bf16"] = "no"
    cells_per_validation: PositiveInt = 50_000
    """Pairs between two validations; a checkpoint is written after each."""
    patience_validations: PositiveInt = 8
    validation_cells_per_condition: PositiveInt = 256
