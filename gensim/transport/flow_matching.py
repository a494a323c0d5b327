"""Conditional flow matching from control to perturbed cells (Lipman et al. 2023; Tong et al. 2024)."""

import torch

from gensim.nn.field import ConditionalField
from gensim.perturbations.encoder import ConditionEncoder
from gensim.transport.base import Draws, Transport
from gensim.types import ConditionBatch, Dynamics, PairBatch


class FlowMatching(Transport):
    """Straight paths between coupled cells (Tong et al. 2024, eq. 14-15).

        z_t = (1 - t) z_0 + t z_1 + sigma eps,    u_t = z_1 - z_0,    loss = mean |v(z_t, t, c) - u_t|²

    With an anchor, ``v = shift(c) + network``: an untrained model moves every control cell by the mean effect that
    the condition had in training, and the network learns what that misses.

    Args:
        field: (z_t, t, condition features) -> velocity.
        encoder: conditions -> condition features.
        sigma: standard deviation of the noise on the path, in standardised latent units; 0 for none.
        anchored: start from the mean effect.
    """

    def __init__(self, field: ConditionalField, encoder: ConditionEncoder, sigma: float, anchored: bool) -> None:
        super().__init__()
        if sigma < 0:
            raise ValueError(f"sigma is {sigma}; the noise on the path cannot be negative")
        self.field = field
        self.encoder = encoder
        self.sigma = sigma
        self.anchored = anchored

    def velocity(self, z_t: torch.Tensor, t: torch.Tensor, features: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """(B, D) velocity v_t of cells z_t (B, D) at times t (B,), given condition features (B, C) and shift (B, D)."""
        v_t = self.field(z_t, t, features)
        return shift + v_t if self.anchored else v_t

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        t = draws.t[:, None]
        z_t = (1 - t) * pairs.z_0 + t * pairs.z_1 + self.sigma * draws.eps
        u_t = pairs.z_1 - pairs.z_0
        v_t = self.velocity(z_t, draws.t, self.encoder(pairs.condition), pairs.condition.shift)
        return (v_t - u_t).square().mean()

    def start(self, z_control: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """The control cell itself: this transport has no noise at t = 0."""
        return z_control

    def dynamics(self, z_control: torch.Tensor, condition: ConditionBatch) -> Dynamics:  # noqa: ARG002
        features = self.encoder(condition)
        return Dynamics(drift=lambda t, z: self.velocity(z, t.expand(len(z)), features, condition.shift))
