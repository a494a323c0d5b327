"""Which regression predicts best what a perturbation does that was left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import single_perturbations
from gensim.perturbations.regression import KINDS, Kind, MeasuredVectors, Regression, candidates, left_out_weights
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, spread

FEWEST_PERTURBATIONS = 3
"""To choose from; with fewer it is the mean."""
MOST_PERTURBATIONS = 2000
"""Of which a choice is made, evenly over the names: time grows with the cube of their number."""
MOST_SETTINGS = 64
"""Contexts and doses in which a choice is judged."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A regression, and the share of the squared length of left-out effects that it leaves unexplained."""

    regression: Regression
    unexplained: float

    def in_words(self) -> str:
        return (
            f"unmeasured perturbations: {self.regression}; it leaves {self.unexplained:.0%} of the effects of left-out "
            "perturbations unexplained (no effect: 100%)"
        )


def choose_regression(
    measured: MeanEffects, used: MeanEffects, table: VectorTable, kinds: Sequence[Kind] = KINDS
) -> Judged:
    """The regression that predicts best, leaving one perturbation out after another with all its conditions.

    Predictions are made of effects as they are used, and compared with effects as they were measured, whose noise is
    the same for every candidate. Only perturbations that were measured alone take part.

    Args:
        measured: plain mean effects of the training conditions.
        used: the same conditions; plain, or shrunk.
        table: has their vectors.
        kinds: to choose from.
    """
    alone = np.array(single_perturbations(measured.conditions))
    if len(alone) < FEWEST_PERTURBATIONS:
        return Judged(Regression("mean"), 1.0)
    names = spread(alone, MOST_PERTURBATIONS).tolist()
    settings = list(_settings(measured, used, names))
    vectors = {unit: MeasuredVectors(table, names, unit).x for unit in (False, True)}
    size = sum(setting.size for setting in settings)
    best = Judged(Regression("mean"), np.inf)
    for regression in candidates(kinds):
        weights = left_out_weights(regression, vectors[regression.unit])
        unexplained = sum(setting.unexplained(weights) for setting in settings) / size if size > 0 else 1.0
        if unexplained < best.unexplained:
            best = Judged(regression, unexplained)
    return best


class _Setting(NamedTuple):
    """Effects in one context at one dose, as inner products.

    Args:
        rows: of the R perturbations the r that were measured here.
        gram: (R, R) inner products of the effects that predictions are made of.
        cross: (r, R) of measured effects with those. size: squared length of the measured effects.
    """

    rows: NDArray[np.int64]
    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    size: float

    def unexplained(self, weights: NDArray[np.float64]) -> float:
        """Sum of |w Y - y|² over the measured effects y."""
        w = weights[self.rows]
        return float(((w @ self.gram) * w).sum() - 2 * (w * self.cross).sum() + self.size)


def _settings(measured: MeanEffects, used: MeanEffects, names: Sequence[str]) -> Iterable[_Setting]:
    row = {condition: k for k, condition in enumerate(measured.conditions)}
    places = sorted({(c.context, c.dose) for c in row if len(c.perturbations) == 1}, key=str)
    for i in spread(np.arange(len(places)), MOST_SETTINGS):
        context, dose = places[i]
        conditions = [Condition((name,), context, dose) for name in names]
        here = np.array([r for r, condition in enumerate(conditions) if condition in row], dtype=np.int64)
        y = np.stack([used.shift(condition) for condition in conditions]).astype(np.float64)
        own = measured.delta[[row[conditions[r]] for r in here]].astype(np.float64)
        yield _Setting(here, y @ y.T, own @ y.T, float(np.square(own).sum()))
