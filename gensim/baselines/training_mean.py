"""The simplest prediction that learns: every control cell moves by the mean effect that training cells showed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.errors import DataError
from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition, FloatArray


@dataclass(frozen=True, slots=True)
class TrainingMean:
    """x = x_control + shift(condition).

    Args:
        effects: mean effects over genes, log1p CP10k, in the order of the genes of the cells; `MeanEffects.shift`
            says what they tell about conditions that training did not have.
    """

    effects: MeanEffects

    def simulate(self, x_control: FloatArray, condition: Condition) -> FloatArray:
        """(n, G) control cells, log1p CP10k, of the condition's context, to (n, G) moved cells.

        Values may fall below 0 and are not clipped: clipping would change the mean effect, and so make the baseline
        weaker than it is.

        Raises:
            DataError: the effects are over another number of genes.
        """
        shift = self.effects.shift(condition)
        if x_control.ndim != 2 or x_control.shape[1] != len(shift):
            raise DataError(
                f"mean effects are over {len(shift)} genes, the control cells have shape {x_control.shape}; "
                "take both from the same run"
            )
        return x_control + shift


def training_centroid(
    effects: MeanEffects | None, control: Condition, control_mean: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """(G,) mean of the held-back controls plus the average effect of the training conditions of the context.

    Where training had none of this context, the average is over all of its conditions; None where it had none at all.
    """
    if effects is None or not effects.conditions:
        return None
    own = [k for k, condition in enumerate(effects.conditions) if condition.control == control]
    delta = effects.delta if effects.plain is None else effects.plain
    average: NDArray[np.float64] = delta[own or slice(None)].mean(axis=0, dtype=np.float64)
    return control_mean + average
