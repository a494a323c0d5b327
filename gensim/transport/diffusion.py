"""Latent diffusion from noise, or from partly noised control cells, to perturbed cells."""

from abc import ABC, abstractmethod

import torch

from gensim.nn.field import ConditionalField
from gensim.perturbations.encoder import ConditionEncoder
from gensim.transport.base import Draws, Transport
from gensim.transport.schedules import Schedule
from gensim.types import ConditionBatch, ControlBatch, Denoiser, Dynamics, PairBatch


class Prediction(ABC):
    """What the network is asked for, on the path z_t = alpha z_1 + sigma eps with alpha² + sigma² = 1."""

    @abstractmethod
    def target(self, z_1: torch.Tensor, eps: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """What the output should be."""

    @abstractmethod
    def weight(self, snr: torch.Tensor, gamma: float) -> torch.Tensor:
        """min(SNR, gamma) for the squared error of the clean cell, in terms of the squared error of the output."""

    @abstractmethod
    def clean_and_noise(
        self, output: torch.Tensor, z_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The clean cell and the noise that the output stands for: alpha clean + sigma noise is z_t."""


class Velocity(Prediction):
    """v = alpha eps - sigma z_1 (Salimans & Ho 2022, appendix D): well scaled at every time."""

    def target(self, z_1: torch.Tensor, eps: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return alpha * eps - sigma * z_1

    def weight(self, snr: torch.Tensor, gamma: float) -> torch.Tensor:
        return snr.clamp(max=gamma) / (snr + 1)

    def clean_and_noise(
        self, output: torch.Tensor, z_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return alpha * z_t - sigma * output, sigma * z_t + alpha * output


class Clean(Prediction):
    """z_1: the noise follows by a division by sigma, so that its errors grow towards t = 1."""

    def target(self, z_1: torch.Tensor, eps: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return z_1

    def weight(self, snr: torch.Tensor, gamma: float) -> torch.Tensor:
        return snr.clamp(max=gamma)

    def clean_and_noise(
        self, output: torch.Tensor, z_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return output, (z_t - alpha * output) / sigma


class Noise(Prediction):
    """eps (Ho et al. 2020): the clean cell follows by a division by alpha, so that its errors grow towards t = 0."""

    def target(self, z_1: torch.Tensor, eps: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return eps

    def weight(self, snr: torch.Tensor, gamma: float) -> torch.Tensor:
        return snr.clamp(max=gamma) / snr

    def clean_and_noise(
        self, output: torch.Tensor, z_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (z_t - sigma * output) / alpha, output


PREDICTIONS: dict[str, Prediction] = {"v": Velocity(), "clean": Clean(), "noise": Noise()}


class LatentDiffusion(Transport):
    """Variance-preserving diffusion in the latent space, with the control cell as context.

        z_t = alpha(t) z_1 + sigma(t) eps,    t = t_min + (1 - 2 t_min) u,    u uniform on [0, 1)
        loss = mean min(SNR, gamma) |clean(z_t, t, c) - z_1|²,    SNR = alpha² / sigma²    (Hang et al. 2023, eq. 8)

    Cells are simulated on the part of the path from t_s on, which solvers see as tau from 0 to 1:

        t = t_s + (1 - t_min - t_s) tau,    t_s = t_min + (1 - strength) (1 - 2 t_min)
        z_0 = alpha(t_s) z_control + sigma(t_s) eps  (Meng et al. 2022, algorithm 2);  eps alone for strength 1

    With strength 1 nothing of the control cell is in the start, not even alpha(t_min) of it: cells know of it by the
    context alone. The path ends at t = 1 - t_min, where alpha is short of 1 and sigma of 0 by as little as t_min is
    small (cosine schedule, t_min 0.01: alpha 0.99988, sigma 0.016). Solvers that follow the drift end there; those
    that step from denoiser to denoiser return E[z_1 | z_t].

    Args:
        field: (z_t, t, context) -> D outputs; it should see the control cell.
        encoder: conditions -> condition features.
        schedule: alpha and sigma.
        prediction: what the field's outputs are: "v", "clean" or "noise".
        min_snr: gamma, the signal-to-noise ratio above which all times weigh the same in the loss.
        strength: share of the path that cells are simulated over: 1 from noise, less from partly noised control cells.
        t_min: how far the path keeps from t = 0 and 1, where conversions divide by alpha and sigma.
        stochastic: simulate by the reverse stochastic equation, else by the probability flow.

    Raises:
        ValueError: unknown prediction, min_snr not positive, strength outside (0, 1] or t_min outside (0, 1/2).
    """

    def __init__(
        self,
        field: ConditionalField,
        encoder: ConditionEncoder,
        schedule: Schedule,
        *,
        prediction: str,
        min_snr: float,
        strength: float,
        t_min: float,
        stochastic: bool,
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction is {prediction!r}; a network predicts one of {', '.join(PREDICTIONS)}")
        if min_snr <= 0:
            raise ValueError(f"min_snr is {min_snr}; times weigh something only where it is positive (5 is usual)")
        if not 0 < strength <= 1:
            raise ValueError(f"strength is {strength}; the share of the path that is simulated lies in (0, 1]")
        if not 0 < t_min < 0.5:
            raise ValueError(f"t_min is {t_min}; it lies in (0, 1/2), so that the path keeps from both its ends")
        self.field = field
        self.encoder = encoder
        self.schedule = schedule
        self.prediction = PREDICTIONS[prediction]
        self.min_snr = min_snr
        self.strength = strength
        self.t_min = t_min
        self.stochastic = stochastic

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        t = self.t_min + (1 - 2 * self.t_min) * draws.t
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        z_t = alpha * pairs.z_1 + sigma * draws.eps
        output = self.field(z_t, t, self.field.context(self.encoder(pairs.condition), pairs.controls))
        weight = self.prediction.weight(self.schedule.log_snr(t).exp()[:, None], self.min_snr)
        target = self.prediction.target(pairs.z_1, draws.eps, alpha, sigma)
        loss: torch.Tensor = (weight * (output - target).square()).mean()
        return loss

    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        if self.strength == 1:
            return eps
        t_s = self._time(eps.new_zeros(()))
        return self.schedule.alpha(t_s) * controls.z + self.schedule.sigma(t_s) * eps

    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        """In tau: the probability flow, or the reverse equation of the same marginals (Song et al. 2021, eq. 13 and 6).

        dz/dt = alpha' clean + sigma' noise
        dz = (alpha' clean + sigma' noise + (g²/2) score) dt + g dW,    score = -noise / sigma
        g² = 2 sigma² (alpha' / alpha - sigma' / sigma)
        """
        schedule, rate = self.schedule, self._rate
        context = self.field.context(self.encoder(condition), controls)

        def clean_and_noise(t: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            output = self.field(z, t.expand(len(z)), context)
            return self.prediction.clean_and_noise(output, z, schedule.alpha(t), schedule.sigma(t))

        def g_squared(t: torch.Tensor) -> torch.Tensor:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            return 2 * sigma**2 * (schedule.alpha_dot(t) / alpha - schedule.sigma_dot(t) / sigma)

        def flow(tau: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            t = self._time(tau)
            clean, noise = clean_and_noise(t, z)
            return rate * (schedule.alpha_dot(t) * clean + schedule.sigma_dot(t) * noise)

        def reverse(tau: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            t = self._time(tau)
            clean, noise = clean_and_noise(t, z)
            score = -noise / schedule.sigma(t)
            return rate * (schedule.alpha_dot(t) * clean + schedule.sigma_dot(t) * noise + g_squared(t) / 2 * score)

        def diffusion(tau: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return (rate * g_squared(self._time(tau))).sqrt().expand_as(z)

        denoiser = Denoiser(
            alpha=lambda tau: schedule.alpha(self._time(tau)),
            sigma=lambda tau: schedule.sigma(self._time(tau)),
            clean=lambda tau, z: clean_and_noise(self._time(tau), z)[0],
        )
        return Dynamics(reverse, diffusion, denoiser) if self.stochastic else Dynamics(flow, denoiser=denoiser)

    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        """alpha, with which the mean of the path moves, so that a shift of z_1 is a shift of every denoiser.

        At the end it is alpha(1 - t_min), as short of 1 as all else that ends there.
        """
        return self.schedule.alpha(self._time(t))

    @property
    def _rate(self) -> float:
        """dt / dtau."""
        return self.strength * (1 - 2 * self.t_min)

    def _time(self, tau: torch.Tensor) -> torch.Tensor:
        """Of the schedule, for the solvers' tau."""
        return 1 - self.t_min - self._rate * (1 - tau)
