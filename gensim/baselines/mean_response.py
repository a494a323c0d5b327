"""The prediction that all perturbations of a context do the same: the average of the effects that training knows."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gensim.perturbations.mean_effects import MeanEffects
from gensim.types import Condition


def average_effect(effects: MeanEffects, control: Condition) -> NDArray[np.float64]:
    """(G,) average of the measured effects of the training conditions of the context of `control`, equally weighted.

    Where training had none of this context, the average is over all of its conditions.

    Args:
        effects: of one training condition or more.
    """
    own = [k for k, condition in enumerate(effects.conditions) if condition.control == control]
    delta = effects.delta if effects.plain is None else effects.plain
    average: NDArray[np.float64] = delta[own or slice(None)].mean(axis=0, dtype=np.float64)
    return average


def training_centroid(
    effects: MeanEffects | None, control: Condition, control_mean: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """(G,) mean of the held-back controls plus the average effect of their context; None where training had none."""
    if effects is None or not effects.conditions:
        return None
    return control_mean + average_effect(effects, control)


def mean_response(effects: MeanEffects, conditions: Iterable[Condition]) -> MeanEffects:
    """The average effect of its context as that of each of these conditions, be they among those of training or not.

    Source: baselines of the Virtual Cell Challenges, of 2025 (`build_base_mean_adata` of cell-eval) and of 2026.
    """
    perturbed = tuple(condition for condition in conditions if not condition.is_control)
    averages = {control: average_effect(effects, control) for control in {c.control for c in perturbed}}
    return MeanEffects(perturbed, np.stack([averages[c.control] for c in perturbed]).astype(np.float32))
