"""How control cells become perturbed cells."""

from typing import Literal

from pydantic import Field

from gensim.config.section import Section


class FlowMatchingConfig(Section):
    kind: Literal["flow_matching"] = "flow_matching"
    sigma: float = Field(0.0, ge=0)
    """Standard deviation of the noise on the path, in standardised latent units."""
    noise: float = Field(0.0, ge=0, le=1)
    """Share of the start's variance that is noise: 0 starts at the control cell, 1 at noise; the field then sees it."""


class SchrodingerBridgeConfig(Section):
    kind: Literal["schrodinger_bridge"]
    sigma: float = Field(0.5, gt=0)
    """Of the bridge's Brownian motion over the whole time, in standardised latent units."""
    t_min: float = Field(0.01, gt=0, lt=0.5)
    """Times are drawn from [t_min, 1 - t_min]: the bridge's targets grow without bound at 0 and 1."""
    stochastic: bool = True
    """Sample the stochastic differential equation, or its probability-flow ordinary one."""


class LatentDiffusionConfig(Section):
    kind: Literal["latent_diffusion"]
    schedule: Literal["cosine", "linear"] = "cosine"
    prediction: Literal["v", "clean", "noise"] = "v"
    """What the network returns."""
    min_snr: float = Field(5.0, gt=0)
    """Bound on the weight that a signal-to-noise ratio gives to a time."""
    strength: float = Field(0.5, gt=0, le=1)
    """1 starts at noise, less at the control cell with so much noise that this share of the way is left to go."""
    t_min: float = Field(0.01, gt=0, lt=0.5)
    """Times are drawn from [t_min, 1 - t_min]."""
    stochastic: bool = False
    """Sample the reverse stochastic differential equation, or its probability-flow ordinary one."""


TransportConfig = FlowMatchingConfig | SchrodingerBridgeConfig | LatentDiffusionConfig
