"""Which measured conditions say most of another one, and how much each of them does."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gensim.perturbations.dose_response import DoseResponse
from gensim.perturbations.regression import Regression, Weights
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition

Key = tuple[int, bool]
"""Row of a measured condition, and whether its effect is taken shrunk (else plain)."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A regression with the vectors that it looks at."""

    regression: Regression
    table: VectorTable


@dataclass(frozen=True, slots=True)
class Likeness:
    """What tells of conditions that were not measured.

    Args:
        variance: of the effects of measured conditions, in units of a typical effect's squared length.
        perturbations: over perturbations that were measured alone; None: one that was not measured is expected to do
            what perturbations do on average.
        contexts: over contexts (named by the key of their control condition); None: all alike.
        doses: between the doses that were measured of the same in the same context; None: all alike.
    """

    variance: Mapping[Condition, float] = field(default_factory=dict)
    perturbations: Predictor | None = None
    contexts: Predictor | None = None
    doses: DoseResponse | None = None


class MeasuredConditions:
    """K perturbed conditions, found by their perturbations."""

    def __init__(self, conditions: Sequence[Condition], likeness: Likeness | None = None) -> None:
        self.conditions = conditions
        self.likeness = likeness or Likeness()
        self.alone = single_perturbations(conditions)
        self._rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for k, condition in enumerate(conditions):
            self._rows[condition.perturbations].append(k)
        self._fitted: dict[tuple[Sequence[str], tuple[float, ...]], Weights] = {}

    def like(self, condition: Condition) -> list[int]:
        """Rows of the nearest conditions with exactly these perturbations; none where there is none.

        In this order: the condition itself; other doses in the same context; this dose in other contexts; any.
        """
        same = self._rows.get(condition.perturbations, [])
        here = [k for k in same if self.conditions[k].context == condition.context]
        dosed = [k for k in same if self.conditions[k].dose == condition.dose]
        exact = [k for k in here if k in dosed]
        return exact or here or dosed or same

    def weights(self, condition: Condition) -> dict[Key, float]:
        """Weights of the measured effects whose sum is the expected effect of a condition.

        Control has none, nor has dose 0. Conditions with exactly these perturbations come first: in the same context,
        the same dose or between others by the dose response; else those of other contexts, by the regression over
        contexts. Else a combination is the sum of its members, and a perturbation that
        was not measured what the regression makes of those that were, in the same context and at the same dose where
        they were measured there. Without a regression, and where a member was not measured alone: all conditions of
        the context alike, or all there are.
        """
        if condition.changes_nothing or not self.conditions:
            return {}
        known = self._known(condition)
        if known:
            return known
        members = [
            self._member(Condition((name,), condition.context, condition.dose)) for name in condition.perturbations
        ]
        if all(members):
            return _sum(members)
        here = [k for k, c in enumerate(self.conditions) if c.context == condition.context]
        return _alike(here or list(range(len(self.conditions))))

    def _member(self, single: Condition) -> dict[Key, float]:
        """Of a single perturbation; empty where nothing is known."""
        known, predictor = self._known(single), self.likeness.perturbations
        if known or predictor is None:
            return known
        return self._predicted(
            predictor, single.perturbations[0], self.alone,
            lambda name: self._known(Condition((name,), single.context, single.dose)),
        )  # fmt: skip

    def _known(self, condition: Condition) -> dict[Key, float]:
        """Of conditions with exactly these perturbations; empty where there is none."""
        by_context: dict[str, list[int]] = defaultdict(list)
        for k in self._rows.get(condition.perturbations, []):
            by_context[self.conditions[k].control.key].append(k)
        here, predictor = condition.control.key, self.likeness.contexts
        if here in by_context:
            return self._at_dose(by_context[here], condition.dose)
        dosed = {c: rows for c, rows in by_context.items() if condition.dose in {self.conditions[k].dose for k in rows}}
        elsewhere = {c: self._at_dose(rows, condition.dose) for c, rows in (dosed or by_context).items()}
        if predictor is None or len(elsewhere) < 2 or not predictor.table.has(here):
            return _sum([_times(1 / len(elsewhere), part) for part in elsewhere.values()])
        return self._predicted(predictor, here, tuple(elsewhere), elsewhere.__getitem__)

    def _at_dose(self, rows: list[int], dose: float | None) -> dict[Key, float]:
        """Of conditions that differ in their dose alone."""
        doses = [self.conditions[k].dose for k in rows]
        if dose in doses:
            return _alike([rows[doses.index(dose)]])
        above_0 = [(d, k) for d, k in zip(doses, rows, strict=True) if d]
        if self.likeness.doses is None or dose is None or not above_0:
            return _alike(rows)
        measured, v = np.array([d for d, _ in above_0]), np.array([self._variance(k) for _, k in above_0])
        weights = self.likeness.doses.weights(measured, v, dose).tolist()
        return {(k, False): w for (_, k), w in zip(above_0, weights, strict=True)}

    def _predicted(
        self, predictor: Predictor, name: str, measured: Sequence[str], known: Callable[[str], dict[Key, float]]
    ) -> dict[Key, float]:
        """What a regression over the measured names makes of another one, each of them being what is known of it."""
        parts = [known(other) for other in measured]
        v = tuple(sum(w * w * self._variance(k) for (k, _), w in part.items()) for part in parts)
        if (measured, v) not in self._fitted:
            self._fitted[measured, v] = Weights(predictor.regression, predictor.table, measured, v)
        weights = self._fitted[measured, v].of([name])[0].tolist()
        return _sum([
            {(k, predictor.regression.shrunk): weight * w for (k, _), w in part.items()}
            for part, weight in zip(parts, weights, strict=True)
            if weight != 0
        ])  # fmt: skip

    def _variance(self, row: int) -> float:
        return self.likeness.variance.get(self.conditions[row], 0.0)


def single_perturbations(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Names of the perturbations that occur alone."""
    return tuple(sorted({c.perturbations[0] for c in conditions if len(c.perturbations) == 1}))


def _alike(rows: list[int]) -> dict[Key, float]:
    return {(k, True): 1 / len(rows) for k in rows}


def _times(factor: float, part: dict[Key, float]) -> dict[Key, float]:
    return {key: factor * weight for key, weight in part.items()}


def _sum(parts: Sequence[dict[Key, float]]) -> dict[Key, float]:
    total: dict[Key, float] = defaultdict(float)
    for part in parts:
        for key, weight in part.items():
            total[key] += weight
    return dict(total)
