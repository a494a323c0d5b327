"""Any transport, started from what is known: the mean effect of the condition in training."""

from collections.abc import Callable
from dataclasses import replace

import torch

from gensim.transport.base import Draws, Transport
from gensim.types import ConditionBatch, ControlBatch, Denoiser, Dynamics, PairBatch, VectorField


class Anchored(Transport):
    """The inner transport in coordinates that move along with the mean effect.

        z̃_t = z_t - a(t) shift,    a = how much of z_1 the path's mean holds at t

    The inner transport learns to arrive at ``z_1 - shift``. From control cells, an inner transport that does nothing
    moves every cell by the mean effect, and the inner one sees cells that lie where control cells lie, whatever the
    condition.

    Args:
        inner: learns what the mean effect misses.
    """

    def __init__(self, inner: Transport) -> None:
        super().__init__()
        self.inner = inner

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        return self.inner.loss(replace(pairs, z_1=pairs.z_1 - pairs.condition.shift), draws)

    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:
        a_0 = self.arrival(torch.zeros((), dtype=controls.z.dtype, device=controls.z.device))
        return self.inner.start(controls, condition, eps) + a_0 * condition.shift

    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        inner, shift = self.inner.dynamics(controls, condition), condition.shift

        def moving(field: VectorField) -> VectorField:
            return lambda t, z: field(t, z - self.arrival(t) * shift)

        drift, speed = moving(inner.drift), _derivative(self.arrival)
        clean = None if inner.denoiser is None else moving(inner.denoiser.clean)
        return Dynamics(
            drift=lambda t, z: drift(t, z) + speed(t) * shift,
            diffusion=None if inner.diffusion is None else moving(inner.diffusion),
            denoiser=None
            if inner.denoiser is None or clean is None
            else Denoiser(inner.denoiser.alpha, inner.denoiser.sigma, lambda t, z: clean(t, z) + shift),
        )

    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        return self.inner.arrival(t)


def _derivative(a: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """da/dt by automatic differentiation."""

    def speed(t: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            at = t.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(a(at), at)
        return slope

    return speed
