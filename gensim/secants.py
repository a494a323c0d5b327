"""Effects that bring means to where they are wanted, found by secants."""

from collections.abc import Callable

import torch

SECANT, SECANT_STEPS, FLATTEST = 0.02, 3, 1e-2
"""First step of secants for an effect on logarithms, their number, and the slope at which a gene hardly answers."""
LEAST_MEAN = 1e-12
"""Mean log1p CP10k that stands for 0 where its logarithm is taken."""


def raised_to(
    mean: Callable[[torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    at_start: torch.Tensor,
    wanted: torch.Tensor,
    most: float,
) -> torch.Tensor:
    """(G,) x for which the (G,) `mean(x)` is `wanted`, gene by gene, where it rises with x.

    By secants between x and the logarithm of the mean, which is nearly x itself for a rare gene.

    Args:
        start, at_start: an x, and the mean there.
        most: x goes no further from `start`.
    """

    def log(mean: torch.Tensor) -> torch.Tensor:
        return mean.clamp_min(LEAST_MEAN).log()

    x, value, target = start, log(at_start), log(wanted)
    slope = (log(mean(x + SECANT)) - value) / SECANT
    for _ in range(SECANT_STEPS):
        stepped = x + (target - value) / slope.clamp_min(FLATTEST)
        stepped = torch.minimum(torch.maximum(stepped, start - most), start + most)
        found, went = log(mean(stepped)), stepped - x
        slope = torch.where(went != 0, (found - value) / torch.where(went != 0, went, 1), slope)
        x, value = stepped, found
    return x
