"""From cells to latents and back."""

from typing import Literal

from pydantic import Field

from gensim.config.section import PositiveInt, Section


class PCAConfig(Section):
    kind: Literal["pca"] = "pca"
    n_latents: PositiveInt = 50


class MLPAutoencoderConfig(Section):
    kind: Literal["mlp"]
    n_latents: PositiveInt = 50
    width: PositiveInt = 256
    n_layers: PositiveInt = 2
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    cells_per_step: PositiveInt = 256
    max_epochs: PositiveInt = 100
    patience_epochs: PositiveInt = 10


class GenesConfig(Section):
    """No latents: the transport moves log1p CP10k itself. For panels of up to some thousand genes."""

    kind: Literal["genes"]


class CountAutoencoderConfig(Section):
    """A decoder that is a distribution of counts: negative binomial, or with extra zeros. Needs data.scale=counts."""

    kind: Literal["nb", "zinb"]
    n_latents: PositiveInt = 20
    width: PositiveInt = 128
    n_layers: PositiveInt = 2
    variational: bool = True
    """Whether a cell's latents have a posterior, or are a function of the cell."""
    kl_weight: float = Field(0.3, gt=0)
    """Of the posterior's divergence from the prior; 1 is the evidence lower bound, less keeps more of the cell."""
    kl_warmup_epochs: int = Field(15, ge=0)
    """First epochs, in which that weight rises from 0."""
    dispersion: Literal["gene", "gene_condition"] = "gene"
    """What counts' inverse dispersion depends on."""
    noise: Literal["carried", "sampled"] = "carried"
    """Of counts around their mean: the control cell's own quantiles, or fresh draws."""
    library_size: Literal["control", "predicted"] = "control"
    """Of a simulated cell: its control cell's, or that times the mean effect of the condition on it."""
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    cells_per_step: PositiveInt = 128
    max_epochs: PositiveInt = 100
    patience_epochs: PositiveInt = 8


AutoencoderConfig = PCAConfig | MLPAutoencoderConfig | GenesConfig | CountAutoencoderConfig
