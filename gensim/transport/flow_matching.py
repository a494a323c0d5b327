"""Conditional flow matching from control cells, or from noise, to perturbed cells (Lipman et al. 2023)."""

import math

import torch

from gensim.nn.field import ConditionalField
from gensim.perturbations.encoder import ConditionEncoder
from gensim.transport.base import Draws, Transport
from gensim.types import ConditionBatch, ControlBatch, Dynamics, PairBatch


class FlowMatching(Transport):
    """Straight paths between a start and a target (Tong et al. 2024, eq. 14-15).

        z_0 = sqrt(1 - noise) z_control + sqrt(noise) eps
        z_t = (1 - t) z_0 + t z_1 + sigma eps',    u_t = z_1 - z_0,    loss = mean |v(z_t, t, c) - u_t|²

    Args:
        field: (z_t, t, context) -> velocity; where the start holds noise, it sees the control cell as well.
        encoder: conditions -> condition features.
        sigma: standard deviation of the noise on the path, in standardised latent units; 0 for none.
        noise: share of the start's variance that is noise: 0 starts at the control cell, 1 at Gaussian noise.

    Raises:
        ValueError: sigma is negative, or noise is not in [0, 1].
    """

    def __init__(
        self, field: ConditionalField, encoder: ConditionEncoder, sigma: float = 0.0, noise: float = 0.0
    ) -> None:
        super().__init__()
        if sigma < 0:
            raise ValueError(f"sigma is {sigma}; the noise on the path cannot be negative")
        if not 0 <= noise <= 1:
            raise ValueError(f"noise is {noise}; a share of the start's variance lies in [0, 1]")
        self.field = field
        self.encoder = encoder
        self.sigma = sigma
        self.noise = noise

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        t = draws.t[:, None]
        z_0 = self.start(pairs.controls, pairs.condition, draws.eps)
        z_t = (1 - t) * z_0 + t * pairs.z_1 + self.sigma * draws.path
        u_t = pairs.z_1 - z_0
        v_t = self.field(z_t, draws.t, self.field.context(self.encoder(pairs.condition), pairs.controls))
        loss: torch.Tensor = (v_t - u_t).square().mean()
        return loss

    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        control: torch.Tensor = math.sqrt(1 - self.noise) * controls.z
        return control + math.sqrt(self.noise) * eps

    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        context = self.field.context(self.encoder(condition), controls)
        return Dynamics(drift=lambda t, z: self.field(z, t.expand(len(z)), context))

    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        return t
