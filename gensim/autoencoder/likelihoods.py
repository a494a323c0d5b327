"""The negative binomial of counts, with or without extra zeros: densities for fitting, quantiles for drawing."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch.nn import functional

from gensim.types import FloatArray

SMALLEST_MEAN = 1e-12
"""Counts; below it a gene is never seen, and logarithms stay finite."""
LOG_NODES = torch.arange(-19.0, 4.5, 1.0, dtype=torch.float64)
"""Of the trapezoidal rule for means of logarithms, which converges faster than any power of their distance."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CountDistribution:
    """x ~ NB(mu, theta), or 0 with probability pi and NB(mu, theta) else.

        NB(x) = Γ(x + theta) / (Γ(theta) x!)  (theta / (theta + mu))^theta  (mu / (theta + mu))^x
        E[x] = (1 - pi) mu,    Var[x] = (1 - pi) (mu + mu² / theta + pi mu²)

    Args:
        mu: (B, G) mean of the negative binomial, counts.
        theta: (G,) or (B, G) inverse dispersion, above 0; large is Poisson.
        zero_logits: (B, G) log(pi / (1 - pi)); None: no extra zeros.

    Source: Hilbe 2011, Negative Binomial Regression, equation 8.8 (alpha = 1 / theta); extra zeros as in Lambert 1992,
    Technometrics 34, equation 1.
    """

    mu: torch.Tensor
    theta: torch.Tensor
    zero_logits: torch.Tensor | None = None

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """(B, G) natural logarithm of the probability of the counts `x`, (B, G)."""
        mu, theta = self.mu.clamp_min(SMALLEST_MEAN), self.theta
        log_total = torch.log(theta + mu)
        zero_nb = theta * (torch.log(theta) - log_total)
        nb = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1) + zero_nb
        nb = nb + x * (torch.log(mu) - log_total)
        if self.zero_logits is None:
            return nb
        stays, extra = functional.logsigmoid(-self.zero_logits), functional.logsigmoid(self.zero_logits)
        return torch.where(x > 0, stays + nb, torch.logaddexp(extra, stays + zero_nb))

    @property
    def mean(self) -> torch.Tensor:
        """(B, G) E[x]."""
        return self.mu if self.zero_logits is None else torch.sigmoid(-self.zero_logits) * self.mu

    @property
    def variance(self) -> torch.Tensor:
        """(B, G) Var[x]."""
        nb = self.mu + self.mu.square() / self.theta
        if self.zero_logits is None:
            return nb
        pi = torch.sigmoid(self.zero_logits)
        return (1 - pi) * (nb + pi * self.mu.square())

    def mean_log1p(self, scale: torch.Tensor) -> torch.Tensor:
        """(B, G) E[log(1 + scale x)], good to 2e-4 up to a scaled mean of 1e4.

            log(1 + y) = ∫ (1 - exp(-t y)) exp(-t) / t dt    over t > 0
            E[exp(-t x)] = (1 + mu (1 - exp(-t)) / theta)^-theta

        Args:
            scale: (B, 1), above 0; 1e4 over the library size for log1p CP10k.

        Source: Frullani's integral; the transform of the negative binomial as in Johnson, Kemp and Kotz 2005,
        Univariate Discrete Distributions, equation 5.2.
        """
        total = torch.zeros_like(self.mu)
        for node in LOG_NODES.tolist():
            fewer = -torch.expm1(-math.exp(node) * scale)
            total += -torch.expm1(-self.theta * torch.log1p(self.mu * fewer / self.theta)) * math.exp(-math.exp(node))
        total *= float(LOG_NODES[1] - LOG_NODES[0])
        return total if self.zero_logits is None else torch.sigmoid(-self.zero_logits) * total

    def quantiles_of(self, x: FloatArray, v: FloatArray) -> tuple[Float64Array, Float64Array]:
        """Randomised quantile residuals of counts: where in the distribution each of them lies.

        u = F(x - 1) + v [F(x) - F(x - 1)] is uniform on (0, 1) where x follows the distribution and v is uniform.

        Args:
            x, v: (B, G) counts, and uniform draws in [0, 1).

        Returns:
            (B, G) u and (B, G) 1 - u, each exact to the last digits in its own tail.

        Source: Dunn and Smyth 1996, J. Comput. Graph. Stat. 5, section 2.
        """
        nb, (pi, stays) = self._scipy(), self._extra()
        below, above = (pi + stays * nb.cdf(x - 1)) * (x > 0), stays * nb.sf(x)
        mass = pi * (x == 0) + stays * nb.pmf(x)
        return below + v * mass, above + (1 - v) * mass

    def at_quantiles(self, u: Float64Array, complement: Float64Array) -> Float64Array:
        """(B, G) counts below which lies the share `u`: the smallest x with F(x) >= u. Uniform u gives fresh draws.

        Args:
            u, complement: (B, G) u and 1 - u, of which the smaller is used.

        Returns:
            float64 integers; infinite where a quantile is beyond what float64 can tell from 1.
        """
        nb, (pi, stays) = self._scipy(), self._extra()
        lower = nb.ppf(np.clip((u - pi) / stays, 0.0, 1.0))
        upper = nb.isf(np.clip(complement / stays, 0.0, 1.0))
        # ppf(0) is -1 by scipy's convention.
        x: Float64Array = np.maximum(np.where(u < 0.5, lower, upper), 0.0)
        return x

    def _scipy(self) -> "stats._distn_infrastructure.rv_discrete_frozen":
        mu = self.mu.detach().cpu().double().clamp_min(SMALLEST_MEAN).numpy()
        theta = np.broadcast_to(self.theta.detach().cpu().double().numpy(), mu.shape)
        return stats.nbinom(theta, theta / (theta + mu))

    def _extra(self) -> tuple[Float64Array | float, Float64Array | float]:
        """pi and 1 - pi, of which the second is above 0 however near pi is to 1."""
        if self.zero_logits is None:
            return 0.0, 1.0
        logits = self.zero_logits.detach().cpu().double()
        return torch.sigmoid(logits).numpy(), torch.sigmoid(-logits).numpy()
