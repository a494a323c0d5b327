"""Any transport, guided: what the condition changes, exaggerated (Ho & Salimans 2022)."""

import math
from dataclasses import replace

import torch

from gensim.transport.base import Draws, Transport
from gensim.types import ConditionBatch, ControlBatch, Dynamics, PairBatch, VectorField


class Guided(Transport):
    """Classifier-free guidance of the inner transport (Ho & Salimans 2022, eq. 6, with strength = 1 + w).

        f(t, z) = f_hidden(t, z) + strength (f_condition(t, z) - f_hidden(t, z))

    for f the drift and, where there is one, the denoiser's clean prediction; `hidden` is the condition with all that is
    known taken away, which the inner transport knows from training with `condition_dropout`. The diffusion, the start
    and the loss are the inner one's, under the condition.

    Guidance belongs to sampling alone: wrap it around the outermost transport once that holds its weights. Weights are
    saved and loaded without it, so any strength can be tried on the same file.

    Args:
        inner: trained with and without conditions.
        strength: 1 is the inner transport itself, 0 ignores the condition, more than 1 exaggerates it.

    Raises:
        ValueError: strength is negative or not finite.
    """

    def __init__(self, inner: Transport, strength: float) -> None:
        super().__init__()
        if not math.isfinite(strength) or strength < 0:
            raise ValueError(f"strength is {strength}; guidance needs a finite one that is not negative, 1 for none")
        self.inner = inner
        self.strength = strength

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        return self.inner.loss(pairs, draws)

    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:
        return self.inner.start(controls, condition, eps)

    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        known = self.inner.dynamics(controls, condition)
        if self.strength == 1:
            return known
        everything = torch.ones_like(condition.batch, dtype=torch.bool)
        hidden = self.inner.dynamics(controls, condition.hidden(everything))
        denoiser = None
        if known.denoiser is not None and hidden.denoiser is not None:
            denoiser = replace(known.denoiser, clean=self._guide(hidden.denoiser.clean, known.denoiser.clean))
        return Dynamics(self._guide(hidden.drift, known.drift), known.diffusion, denoiser)

    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        return self.inner.arrival(t)

    def _guide(self, f_hidden: VectorField, f_condition: VectorField) -> VectorField:
        if self.strength == 0:
            return f_hidden

        def f(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            without = f_hidden(t, z)
            return without + self.strength * (f_condition(t, z) - without)

        return f
