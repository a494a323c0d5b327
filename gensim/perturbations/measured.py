"""Which measured conditions say most of another one, and how much each of them does."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from gensim.doses import Dose
from gensim.perturbations.dose_response import DoseResponse
from gensim.perturbations.regression import Regression, Weights
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, FloatArray

Key = tuple[int, bool]
"""Row of a measured condition, and whether its effect is taken shrunk (else plain)."""
Context = tuple[tuple[str, str], ...]
Together = tuple[tuple[str, ...], tuple[float, ...] | None]
Parts = Sequence[dict[Key, float]]
Variances = tuple[float, ...]
PLACES_KEPT = 4
"""Contexts and doses whose regressions are kept: one takes (perturbations)² numbers."""


@dataclass(frozen=True, eq=False, slots=True)
class Predictor:
    """A regression with the vectors that it looks at.

    Args:
        variance: of the measured effects by which it was chosen, see `Likeness`; None: that of the likeness.
    """

    regression: Regression
    table: VectorTable
    variance: Mapping[Condition, float] | None = None

    def tells_of(self, name: str) -> bool:
        """Whether the table that is looked at has something on a name."""
        if not self.table.has(name):
            return False
        source, parts = self.regression.source, self.table.parts
        of_it = self.table.of([name])[0]
        return len(parts) == 1 or bool((of_it if source is None else of_it[parts[source]]).any())


@dataclass(frozen=True, slots=True)
class Likeness:
    """What tells of conditions that were not measured.

    Args:
        variance: of the effects of measured conditions, in units of a typical effect's squared length.
        perturbations: over perturbations that were measured alone; None: one that was not measured is expected to do
            what perturbations do on average.
        contexts: over contexts (named by the key of their control condition); None: all alike.
        doses: between the doses that were measured of the same in the same context; None: all alike.
        between: over contexts too, for those where other perturbations were measured, which tell how effects there go
            along with those in others (see `BetweenContexts`); None: as for any other.
    """

    variance: Mapping[Condition, float] = field(default_factory=dict)
    perturbations: Predictor | None = None
    contexts: Predictor | None = None
    doses: DoseResponse | None = None
    between: Predictor | None = None

    def knowing_contexts(self, vectors: Mapping[str, FloatArray]) -> "Likeness":
        """The same with (D,) vectors of further contexts, by the keys of their control conditions."""
        predictor = self.contexts
        further = {key: v for key, v in vectors.items() if predictor is not None and not predictor.table.has(key)}
        if predictor is None or not further:
            return self
        table = predictor.table
        names, rows = (*table.names, *further), np.concatenate([table.vectors, np.stack(list(further.values()))])
        return replace(self, contexts=replace(predictor, table=VectorTable(names, rows, table.source)))


class MeasuredConditions:
    """K perturbed conditions, found by their perturbations."""

    def __init__(self, conditions: Sequence[Condition], likeness: Likeness | None = None) -> None:
        self.conditions = conditions
        self.likeness = likeness or Likeness()
        self.alone = single_perturbations(conditions)
        self._row = {condition: k for k, condition in enumerate(conditions)}
        self._with: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._rows: dict[Together, dict[Context, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._in_context: dict[Context, list[int]] = defaultdict(list)
        for k, condition in enumerate(conditions):
            self._with[condition.perturbations].append(k)
            self._rows[together(condition)][condition.context].append(k)
            self._in_context[condition.context].append(k)
        self._alone_at = lru_cache(maxsize=PLACES_KEPT)(self._known_alone)
        self._weights_among = lru_cache(maxsize=PLACES_KEPT)(self._fit)

    def like(self, condition: Condition) -> list[int]:
        """Rows of the nearest conditions with exactly these perturbations; none where there is none.

        In this order: the condition itself; other doses in the same context; this dose in other contexts; any.
        """
        same = self._with.get(condition.perturbations, [])
        here = [k for k in same if self.conditions[k].context == condition.context]
        dosed = [k for k in same if self.conditions[k].dose == condition.dose]
        exact = [k for k in here if k in dosed]
        return exact or here or dosed or same

    def weights(self, condition: Condition) -> dict[Key, float]:
        """Weights of the measured effects whose sum is the expected effect of a condition.

        Control has none, nor has dose 0. Conditions with exactly these perturbations come first: in the same context,
        the same dose or between others by the dose response; else those of other contexts, as effects of others go
        along in these and there, or by the regression over contexts. Else, and where nothing carries over from other
        contexts but its members were measured in this one, a combination is the sum of its members, and a perturbation
        that was not measured what the regression makes of those that were, in the same context and at the same dose
        where they were measured there. One dose of all members tells of another one, but members at doses of their own
        are another combination: where one of them was not measured alone, it does what it did at other doses. Without a
        regression, and where a member was not measured alone: all conditions of the context alike, or all there are.
        """
        if condition.changes_nothing or not self.conditions:
            return {}
        if condition in self._row:
            return {(self._row[condition], True): 1.0}
        known = self._known(condition)
        if known or (known is not None and not self._members_here(condition)):
            return known
        at_other_doses = self.like(condition)
        if at_other_doses and any(self._known(member) is None for member in condition.members):
            return _alike(at_other_doses)
        members = [self._member(member) for member in condition.members]
        told = [member for member in members if member is not None]
        if len(told) == len(members):
            return _sum(told)
        return _alike(self._in_context.get(condition.context) or list(range(len(self.conditions))))

    def _member(self, single: Condition) -> dict[Key, float] | None:
        """Of a single perturbation; None where nothing tells."""
        known, predictor, name = self._known(single), self.likeness.perturbations, single.perturbations[0]
        if known is not None or predictor is None or not self.alone or not predictor.table.has(name):
            return known
        # What was measured in other contexts alone, from which nothing carries over, is not known to be nothing here.
        alone = zip(self.alone, self._alone_at(single.context, single.dose), strict=True)
        told = {of: part for of, part in alone if part}
        return self._predicted(predictor, name, tuple(told), list(told.values())) if told else {}

    def _members_here(self, condition: Condition) -> bool:
        """Whether it is a combination whose members were each measured alone in its context."""
        by_context = [self._rows.get(together(member), {}) for member in condition.members]
        return len(by_context) > 1 and all(condition.context in contexts for contexts in by_context)

    def _known_alone(self, context: Context, dose: Dose) -> Parts:
        """What is known of every perturbation that was measured alone, in a context at a dose."""
        return [self._known(Condition((name,), context, dose)) or {} for name in self.alone]

    def _known(self, condition: Condition) -> dict[Key, float] | None:
        """Of conditions with exactly these perturbations, whose doses tell of these; None where there is none."""
        by_context = self._rows.get(together(condition))
        if by_context is None:
            return None
        if condition.context in by_context:
            return self._at_dose(by_context[condition.context], condition.dose)
        dosed = {c: rows for c, rows in by_context.items() if condition.dose in {self.conditions[k].dose for k in rows}}
        elsewhere = {c: self._at_dose(rows, condition.dose) for c, rows in (dosed or by_context).items()}
        along = self._along(condition, elsewhere)
        if along is not None:
            return along
        here, predictor = condition.control.key, self.likeness.contexts
        if predictor is not None and predictor.regression.kind == "none":
            return {}
        if predictor is None or len(elsewhere) < 2 or not predictor.table.has(here):
            return _sum([_times(1 / len(elsewhere), part) for part in elsewhere.values()])
        names = tuple(Condition((), context).key for context in elsewhere)
        return self._predicted(predictor, here, names, list(elsewhere.values()))

    def _along(self, condition: Condition, elsewhere: dict[Context, dict[Key, float]]) -> dict[Key, float] | None:
        """As effects of others go along in its context and in others; None where no others tell."""
        here, between = condition.control.key, self.likeness.between
        if between is None or condition.context not in self._in_context or not between.table.has(here):
            return None
        keys = {Condition((), context).key: part for context, part in elsewhere.items()}
        told = {key: part for key, part in keys.items() if between.table.has(key)}
        return self._predicted(between, here, tuple(told), list(told.values())) if told else None

    def _at_dose(self, rows: list[int], dose: Dose) -> dict[Key, float]:
        """Of conditions that differ in their dose alone, one of all members."""
        doses = [self.conditions[k].dose for k in rows]
        if dose in doses:
            return _alike([rows[doses.index(dose)]])
        above_0 = [(d, k) for d, k in zip(doses, rows, strict=True) if d]
        if self.likeness.doses is None or dose is None or isinstance(dose, tuple) or not above_0:
            return _alike(rows)
        measured, v = np.array([d for d, _ in above_0]), np.array([self._variance(k) for _, k in above_0])
        weights = self.likeness.doses.weights(measured, v, dose).tolist()
        return {(k, False): w for (_, k), w in zip(above_0, weights, strict=True)}

    def _predicted(self, predictor: Predictor, name: str, measured: tuple[str, ...], parts: Parts) -> dict[Key, float]:
        """What a regression over the measured names makes of another one, each of them being its part.

        Effects of measured doses are shrunk or plain as the regression says; those between doses are plain.
        """
        of = self.likeness.variance if predictor.variance is None else predictor.variance
        v = tuple(sum(w * w * of.get(self.conditions[k], 0.0) for (k, _), w in part.items()) for part in parts)
        weights = self._weights_among(predictor, measured, v).of([name])[0].tolist()
        return _sum([
            {(k, shrunk and predictor.regression.shrunk): weight * w for (k, shrunk), w in part.items()}
            for part, weight in zip(parts, weights, strict=True)
            if weight != 0
        ])  # fmt: skip

    def _fit(self, predictor: Predictor, measured: tuple[str, ...], v: Variances) -> Weights:
        return Weights(predictor.regression, predictor.table, measured, v)

    def _variance(self, row: int) -> float:
        return self.likeness.variance.get(self.conditions[row], 0.0)


def single_perturbations(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Names of the perturbations that occur alone."""
    return tuple(sorted({c.perturbations[0] for c in conditions if len(c.perturbations) == 1}))


def together(condition: Condition) -> Together:
    """What was done, whatever dose all members have; members at doses of their own are something else."""
    return condition.perturbations, condition.dose if isinstance(condition.dose, tuple) else None


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
