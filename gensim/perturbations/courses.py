"""What measured time courses say of conditions at any time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from gensim.perturbations.measured import Key, Likeness, MeasuredConditions
from gensim.perturbations.time_points import TimePoints, timeless
from gensim.types import Condition

Rows = dict[int, float]
"""Row of a measured condition to its weight."""
TIMES_KEPT = 16


class MeasuredCourses:
    """K perturbed conditions at any times; without times the same as `MeasuredConditions`.

    At a time t every course (what was measured of the same perturbations in the same context at the same dose) has an
    effect of its own: linear in between its times and from 0 at time 0, and after its last time as there. Unperturbed
    cells develop; u(t) is their effect. What is left of the other courses,

        net_k(t) = effect_k(t) - u(t),

    says of conditions that have no course what `MeasuredConditions` makes of it, and their effect is that plus u(t).
    So neither the members of a combination nor the shrinkage of a regression or a low dose change the development.

    Args:
        conditions: with a time each, or none with one.
    """

    def __init__(self, conditions: Sequence[Condition], likeness: Likeness | None = None) -> None:
        self.times = TimePoints(conditions)
        self._conditions = conditions
        self._likeness = likeness or Likeness()
        self._courses: dict[Condition, dict[float, int]] = defaultdict(dict)
        for k, condition in enumerate(conditions):
            self._courses[timeless(condition)][condition.time or 0.0] = k
        self._row = {condition: k for k, condition in enumerate(conditions)}
        self._untimed = None if self.times.all else MeasuredConditions(conditions, likeness)
        self._at = lru_cache(maxsize=TIMES_KEPT)(self._at_time)

    def weights(self, condition: Condition) -> dict[Key, float]:
        """Weights of the measured effects whose sum is the expected effect of a condition."""
        if self._untimed is not None:
            return self._untimed.weights(condition)
        if condition.changes_nothing or condition.time is None:
            return {}
        if condition in self._row:
            return {(self._row[condition], True): 1.0}
        if timeless(condition) in self._courses:
            return {(k, True): w for k, w in self._own(timeless(condition), condition.time).items()}
        return self._at(condition.time).weights(condition)

    def _own(self, course: Condition, time: float) -> Rows:
        """Of the effects that were measured along one course, at any time."""
        measured = sorted((t, k) for t, k in self._courses[course].items() if t > 0)
        before, row_before = 0.0, None
        for t, k in measured:
            if time <= t:
                share = (time - before) / (t - before)
                found = {k: share} if row_before is None or share == 1 else {row_before: 1 - share, k: share}
                return {row: w for row, w in found.items() if w}
            before, row_before = t, k
        return {} if row_before is None else {row_before: 1.0}

    def _at_time(self, time: float) -> "_AtTime":
        courses = {replace(course, time=time): self._own(course, time) for course in self._courses}
        return _AtTime(courses, self._likeness, self._conditions)


class _AtTime:
    """All courses at one time.

    Args:
        courses: conditions at that time, and the weights of measured effects that make theirs.
        conditions: those that were measured.
    """

    def __init__(self, courses: Mapping[Condition, Rows], likeness: Likeness, conditions: Sequence[Condition]) -> None:
        def variance(rows: Rows) -> float:
            return sum(w * w * likeness.variance.get(conditions[k], 0.0) for k, w in rows.items())

        virtual = replace(likeness, variance={condition: variance(rows) for condition, rows in courses.items()})
        perturbed = [condition for condition in courses if condition.perturbations]
        unperturbed = [condition for condition in courses if not condition.perturbations]
        self._parts = [courses[condition] for condition in perturbed]
        self._contexts = [condition.control for condition in perturbed]
        self._unperturbed_parts = [courses[condition] for condition in unperturbed]
        self._net = MeasuredConditions(perturbed, virtual)
        self._unperturbed = MeasuredConditions(unperturbed, virtual)
        self._developed: dict[Condition, dict[Key, float]] = {}

    def weights(self, condition: Condition) -> dict[Key, float]:
        total: dict[Key, float] = defaultdict(float)
        _add(total, self._development(condition))
        # Dose 0 does nothing at any time.
        of = {} if condition.dose == 0 or not condition.perturbations else self._net.weights(condition)
        for (k, shrunk), weight in of.items():
            _add(total, {(row, shrunk): weight * w for row, w in self._parts[k].items()})
            developed = self._development(replace(condition, context=self._contexts[k].context))
            _add(total, {(row, shrunk): -weight * w for (row, _), w in developed.items()})
        return {key: weight for key, weight in total.items() if weight}

    def _development(self, condition: Condition) -> dict[Key, float]:
        """Of unperturbed cells at that time in the context of a condition; nothing where it was never measured."""
        if condition.control not in self._developed:
            found: dict[Key, float] = defaultdict(float)
            unperturbed = Condition((), condition.context, None, condition.time)
            for (k, shrunk), weight in self._unperturbed.weights(unperturbed).items():
                _add(found, {(row, shrunk): weight * w for row, w in self._unperturbed_parts[k].items()})
            self._developed[condition.control] = dict(found)
        return self._developed[condition.control]


def _add(total: dict[Key, float], more: Mapping[Key, float]) -> None:
    for key, weight in more.items():
        total[key] += weight
