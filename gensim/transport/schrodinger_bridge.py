"""Schrödinger bridge from control cells to perturbed cells, by score and flow matching ([SF]²M, Tong et al. 2024)."""

import torch

from gensim.nn.field import ConditionalField
from gensim.perturbations.encoder import ConditionEncoder
from gensim.transport.base import Draws, Transport
from gensim.types import ConditionBatch, ControlBatch, Dynamics, PairBatch


class SchrodingerBridge(Transport):
    """Brownian bridges between coupled cells, mixed into one diffusion (Tong et al. 2024, AISTATS, section 3).

        z_t = (1 - t) z_0 + t z_1 + sigma_t eps,    sigma_t = sigma √(t (1 - t))
        u_t = (1 - 2t) / (2t (1 - t)) (z_t - mean) + z_1 - z_0 = z_1 - z_0 + dsigma_t/dt eps
        loss = mean |v(z_t, t, c) - u_t|² + mean |lambda_t s(z_t, t, c) + eps|²,    lambda_t = 2 √(t (1 - t)) / sigma

    v tends to the velocity of the population and s to (sigma²/2) score, so that dz = (v + s) dt + sigma dW and
    dz = v dt have the same populations at every t. With pairs from the entropic plan of squared cost at
    reg = 2 sigma² the former is the Schrödinger bridge: of all diffusions between the two populations the one nearest
    to Brownian motion of width sigma.

    Both means weigh 1. As sigma goes to 0 the first becomes the loss of flow matching. The target of s has standard
    deviation 1 / lambda_t; lambda_t (their eq. 23) makes it one of unit variance at every t, on the scale of v's,
    since latents are standardised.

    Args:
        field: (z_t, t, context) -> (B, 2 D): v beside s.
        encoder: conditions -> condition features.
        sigma: diffusion, in standardised latent units per √time.
        t_min: u_t and 1 / lambda_t grow without bound towards t = 0 and 1; the field learns and is asked on
            [t_min, 1 - t_min] only.
        stochastic: cells follow the diffusion; else its probability-flow ODE.

    Raises:
        ValueError: sigma is not positive, or t_min not inside (0, 1/2).
    """

    def __init__(
        self, field: ConditionalField, encoder: ConditionEncoder, sigma: float, t_min: float, stochastic: bool
    ) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma is {sigma}; a bridge needs noise, sigma > 0: use FlowMatching for none")
        if not 0 < t_min < 0.5:
            raise ValueError(f"t_min is {t_min}; times are kept in [t_min, 1 - t_min], which needs 0 < t_min < 1/2")
        self.field = field
        self.encoder = encoder
        self.sigma = sigma
        self.t_min = t_min
        self.stochastic = stochastic

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        t = (self.t_min + (1 - 2 * self.t_min) * draws.t)[:, None]
        z_0, z_1, eps = pairs.controls.z, pairs.z_1, draws.path
        sigma_t = self.sigma * (t * (1 - t)).sqrt()
        lambda_t = 2 * sigma_t / self.sigma**2
        z_t = (1 - t) * z_0 + t * z_1 + sigma_t * eps
        u_t = z_1 - z_0 + self.sigma**2 * (1 - 2 * t) / (2 * sigma_t) * eps
        context = self.field.context(self.encoder(pairs.condition), pairs.controls)
        v_t, s_t = self.field(z_t, t[:, 0], context).chunk(2, dim=1)
        loss: torch.Tensor = (v_t - u_t).square().mean() + (lambda_t * s_t + eps).square().mean()
        return loss

    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return controls.z

    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        context = self.field.context(self.encoder(condition), controls)

        def v_and_s(t: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            known = t.clamp(self.t_min, 1 - self.t_min).expand(len(z))
            v_t, s_t = self.field(z, known, context).chunk(2, dim=1)
            return v_t, s_t

        if not self.stochastic:
            return Dynamics(drift=lambda t, z: v_and_s(t, z)[0])
        return Dynamics(
            drift=lambda t, z: torch.add(*v_and_s(t, z)),
            diffusion=lambda _, z: torch.full_like(z, self.sigma),
        )

    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        return t
