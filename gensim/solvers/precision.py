"""Any solver, with the matrix products of its dynamics in bfloat16."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from gensim.solvers.base import Solver
from gensim.types import Dynamics, StepNoise, VectorField


@dataclass(frozen=True, slots=True)
class LowPrecision:
    """The inner solver on dynamics whose matrix products are taken in bfloat16; cells and their sums stay float32.

        z_{t+h} = z_t + h float32(v_bf16(z_t, t))

    A velocity is rounded to 8 significant bits, 0.4 %, and the rounding of one step is not carried on by the next:
    fixed steps lose about that share of the way that a cell goes. A method that adapts its steps takes the rounding
    for an error of its own: below a tolerance of about 1e-5 it makes more steps, and cells do not become better.

    Args:
        inner: any solver; noise goes to it as it came.
    """

    inner: Solver

    @property
    def order(self) -> int | None:
        return self.inner.order

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:
        in_bf16 = _autocast(z.device.type)
        denoiser = dynamics.denoiser
        low = replace(
            dynamics,
            drift=in_bf16(dynamics.drift),
            denoiser=None if denoiser is None else replace(denoiser, clean=in_bf16(denoiser.clean)),
        )
        # torch keeps the cast weights until the outermost context ends: so they are cast once, not at every step.
        with torch.autocast(z.device.type, enabled=False):
            return self.inner.solve(low, z, noise)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16 matrices; emulation is slower than float32."""
    match device.type:
        case "cpu":
            return bool(torch.cpu._is_avx512_bf16_supported())
        case "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        case _:
            return False


def _autocast(device: str) -> Callable[[VectorField], VectorField]:
    def low(field: VectorField) -> VectorField:
        def velocity(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device, torch.bfloat16):
                return field(t, z).to(z.dtype)

        return velocity

    return low
