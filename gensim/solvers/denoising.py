"""Solvers that step from one denoiser to the next, along a path z_t = alpha(t) z_1 + sigma(t) eps that starts at noise.

Steps are uniform in t. The last one goes to the clean cell that is expected where it begins, so that the denoiser is
evaluated `n_steps` times in all and the end holds no noise.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch

from gensim.solvers.base import EqualSteps
from gensim.types import Denoiser, Dynamics, StepNoise


@dataclass(frozen=True, slots=True)
class DDIM(EqualSteps):
    """Denoise, and noise again with the noise just found (Song et al. 2021, eq. 12 with eta = 0).

    z_s = alpha_s clean + sigma_s (z_t - alpha_t clean) / sigma_t
    """

    order: ClassVar[int | None] = 1

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:  # noqa: ARG002
        """Raises ValueError for dynamics without a denoiser, or with a diffusion."""
        _require_flow(dynamics, "DDIM")
        path, times = _denoiser(dynamics, "DDIM"), self.times(z)
        for t, s in pairwise(times):
            clean = path.clean(t, z)
            z = path.alpha(s) * clean + path.sigma(s) * (z - path.alpha(t) * clean) / path.sigma(t)
        return path.clean(times[-1], z)


@dataclass(frozen=True, slots=True)
class DPMSolver2M(EqualSteps):
    """DPM-Solver++(2M), which extrapolates the denoiser from two evaluations (Lu et al. 2022, algorithm 2).

        lambda = log(alpha / sigma),    h = lambda_s - lambda_t,    r = h_previous / h
        D = clean + (clean - clean_previous) / (2 r);  clean in the first step
        z_s = (sigma_s / sigma_t) z_t - alpha_s (exp(-h) - 1) D

    The last step, to a lambda without bound, is of order 1. The order is that of steps even in lambda; steps even in t,
    where lambda is steep near noise and near the cell, cost a factor log(n_steps) and stay well below DDIM's error.
    """

    order: ClassVar[int | None] = 2

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:  # noqa: ARG002
        """Raises ValueError for dynamics without a denoiser, or with a diffusion."""
        _require_flow(dynamics, "DPMSolver2M")
        path, times = _denoiser(dynamics, "DPMSolver2M"), self.times(z)
        previous: tuple[torch.Tensor, torch.Tensor] | None = None
        for t, s in pairwise(times):
            clean = path.clean(t, z)
            h = (path.alpha(s) / path.sigma(s)).log() - (path.alpha(t) / path.sigma(t)).log()
            estimate = clean
            if previous is not None:
                clean_previous, h_previous = previous
                r = h_previous / h
                estimate = clean + (clean - clean_previous) / (2 * r)
            z = path.sigma(s) / path.sigma(t) * z - path.alpha(s) * (-h).expm1() * estimate
            previous = clean, h
        return path.clean(times[-1], z)


@dataclass(frozen=True, slots=True)
class Ancestral(EqualSteps):
    """Draws from q(z_s | z_t, z_1 = clean) (Ho et al. 2020, eq. 6-7; in these letters Kingma et al. 2021, appendix A).

        alpha_ts = alpha_t / alpha_s,    sigma_ts² = sigma_t² - alpha_ts² sigma_s²
        z_s = (alpha_ts sigma_s² z_t + alpha_s sigma_ts² clean) / sigma_t² + (sigma_ts sigma_s / sigma_t) noise

    The order is that of the population's mean and variance; single cells follow their noise.
    """

    order: ClassVar[int | None] = 1

    def solve(self, dynamics: Dynamics, z: torch.Tensor, noise: StepNoise) -> torch.Tensor:
        """Draws noise for every step but the last.

        Raises:
            ValueError: the dynamics have no denoiser, or no diffusion: a cell's start alone decides its end.
        """
        if dynamics.diffusion is None:
            raise ValueError(
                "Ancestral draws noise at every step; these dynamics have no diffusion, so that a cell's start alone "
                "decides its end: use DDIM, DPMSolver2M or an ODE solver, or make the transport stochastic"
            )
        path, times = _denoiser(dynamics, "Ancestral"), self.times(z)
        for k, (t, s) in enumerate(pairwise(times)):
            alpha_ts = path.alpha(t) / path.alpha(s)
            variance_s, variance_t = path.sigma(s) ** 2, path.sigma(t) ** 2
            variance_ts = variance_t - alpha_ts**2 * variance_s
            mean = (alpha_ts * variance_s * z + path.alpha(s) * variance_ts * path.clean(t, z)) / variance_t
            z = mean + (variance_ts * variance_s / variance_t).sqrt() * noise(k)
        return path.clean(times[-1], z)


def _denoiser(dynamics: Dynamics, solver: str) -> Denoiser:
    if dynamics.denoiser is None:
        raise ValueError(
            f"{solver} steps from one estimate of the clean cell to the next, on a path that starts at noise; these "
            "dynamics have no denoiser, since their paths start elsewhere: use an ODE or SDE solver"
        )
    return dynamics.denoiser


def _require_flow(dynamics: Dynamics, solver: str) -> None:
    if dynamics.diffusion is not None:
        raise ValueError(
            f"{solver} follows the probability flow, on which a cell's start alone decides its end; these dynamics "
            "have a diffusion, use Ancestral or an SDE solver"
        )
