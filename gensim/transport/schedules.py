"""Noise schedules of diffusion: how much of a noised cell is the cell, and how much is noise, at a time.

Time runs from 0 (noise) to 1 (data), against the direction of the papers, whose time is s = 1 - t.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

BETA_MIN, BETA_MAX = 0.1, 20.0
"""Song et al. 2021, appendix C; the linear schedule of Ho et al. 2020 in continuous time."""


class Schedule(ABC):
    """A variance-preserving path z_t = alpha(t) z_1 + sigma(t) eps.

    For t in [0, 1]: alpha² + sigma² = 1, alpha rises to 1 and sigma falls to 0 at t = 1. Both are differentiable inside
    (0, 1), where `log_snr` is finite. All functions act on tensors of times, elementwise.
    """

    @abstractmethod
    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        """Share of the cell."""

    @abstractmethod
    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the noise."""

    @abstractmethod
    def alpha_dot(self, t: torch.Tensor) -> torch.Tensor:
        """d alpha / dt."""

    @abstractmethod
    def sigma_dot(self, t: torch.Tensor) -> torch.Tensor:
        """d sigma / dt."""

    def log_snr(self, t: torch.Tensor) -> torch.Tensor:
        """log(alpha² / sigma²), the logarithm of the signal-to-noise ratio."""
        return 2 * (self.alpha(t) / self.sigma(t)).log()


@dataclass(frozen=True, slots=True)
class Cosine(Schedule):
    """alpha = sin(pi t / 2), sigma = cos(pi t / 2) (Nichol & Dhariwal 2021, eq. 17, in continuous time without offset).

    Pure noise at t = 0.
    """

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return (math.pi / 2 * t).sin()

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        return (math.pi / 2 * t).cos()

    def alpha_dot(self, t: torch.Tensor) -> torch.Tensor:
        return math.pi / 2 * self.sigma(t)

    def sigma_dot(self, t: torch.Tensor) -> torch.Tensor:
        return -math.pi / 2 * self.alpha(t)


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """The noise is added at a rate that is linear in time (VP-SDE; Song et al. 2021, eq. 33).

        beta(s) = beta_min + s (beta_max - beta_min),    B(s) = ∫_0^s beta = beta_min s + s² (beta_max - beta_min) / 2
        alpha = exp(-B / 2),    sigma = sqrt(1 - exp(-B)),    s = 1 - t

    alpha(0) is 0.0066; sigma falls as a root at t = 1, where its slope is infinite.
    """

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return (-self._integral(t) / 2).exp()

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        return (-(-self._integral(t)).expm1()).sqrt()

    def alpha_dot(self, t: torch.Tensor) -> torch.Tensor:
        return self._beta(t) / 2 * self.alpha(t)

    def sigma_dot(self, t: torch.Tensor) -> torch.Tensor:
        return -self._beta(t) / 2 * self.alpha(t) ** 2 / self.sigma(t)

    def _beta(self, t: torch.Tensor) -> torch.Tensor:
        return BETA_MIN + (1 - t) * (BETA_MAX - BETA_MIN)

    def _integral(self, t: torch.Tensor) -> torch.Tensor:
        """B(1 - t)."""
        s = 1 - t
        return BETA_MIN * s + s**2 * (BETA_MAX - BETA_MIN) / 2
