"""Which measured conditions say most of another one, and how much each of them does."""

from collections import defaultdict
from collections.abc import Sequence

from gensim.perturbations.regression import Weights
from gensim.types import Condition


class MeasuredConditions:
    """K perturbed conditions, found by their perturbations.

    Args:
        conditions: the K conditions.
        regression: over all perturbations that were measured alone, see `single_perturbations`; None: a perturbation
            that was not measured is expected to do what perturbations do on average.
    """

    def __init__(self, conditions: Sequence[Condition], regression: Weights | None = None) -> None:
        self.conditions = conditions
        self.regression = regression
        self._rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for k, condition in enumerate(conditions):
            self._rows[condition.perturbations].append(k)

    def like(self, condition: Condition) -> list[int]:
        """Rows of the nearest conditions with exactly these perturbations; none where there is none.

        In this order: the condition itself; other doses in the same context; this dose in other contexts; any.
        """
        same = self._rows.get(condition.perturbations, [])
        here = [k for k in same if self.conditions[k].context == condition.context]
        dosed = [k for k in same if self.conditions[k].dose == condition.dose]
        exact = [k for k in here if k in dosed]
        return exact or here or dosed or same

    def weights(self, condition: Condition) -> dict[int, float]:
        """Row: weight of the measured effects whose sum is the expected effect of a condition.

        Control has none. Conditions with exactly these perturbations come first (see `like`), all alike. Else a
        combination is the sum of its members, and a perturbation that was not measured what the regression makes of
        those that were, in the same context and at the same dose where they were measured there. Without a regression,
        and where a member was not measured alone: all conditions of the context alike, or all there are.
        """
        if condition.is_control or not self.conditions:
            return {}
        nearest = self.like(condition)
        if nearest:
            return _alike(nearest)
        members = [self._member(name, condition) for name in condition.perturbations]
        if all(members):
            return _sum(members)
        here = [k for k, c in enumerate(self.conditions) if c.context == condition.context]
        return _alike(here or list(range(len(self.conditions))))

    def _member(self, name: str, condition: Condition) -> dict[int, float]:
        """Of a single perturbation in the context and at the dose of a condition; empty where nothing is known."""

        def rows(perturbation: str) -> dict[int, float]:
            return _alike(self.like(Condition((perturbation,), condition.context, condition.dose)))

        if rows(name) or self.regression is None:
            return rows(name)
        of_measured = zip(self.regression.measured, self.regression.of([name])[0].tolist(), strict=True)
        return _sum([{k: weight * w for k, w in rows(other).items()} for other, weight in of_measured if weight != 0])


def single_perturbations(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Names of the perturbations that occur alone."""
    return tuple(sorted({c.perturbations[0] for c in conditions if len(c.perturbations) == 1}))


def _alike(rows: list[int]) -> dict[int, float]:
    return {k: 1 / len(rows) for k in rows}


def _sum(parts: Sequence[dict[int, float]]) -> dict[int, float]:
    total: dict[int, float] = defaultdict(float)
    for part in parts:
        for k, weight in part.items():
            total[k] += weight
    return dict(total)
