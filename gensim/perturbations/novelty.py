"""How far a requested condition lies from those that were measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from gensim.perturbations.measured import Likeness, Predictor, single_perturbations, together
from gensim.perturbations.regression import MeasuredVectors
from gensim.perturbations.time_points import TimePoints
from gensim.types import Condition

Level = Literal["control", "measured", "recombined", "near", "far"]
"""What simulated cells rest on: control cells; cells of the very condition; a new combination, dose or time, or another
context, of measured perturbations; a perturbation that was not measured, or a context without perturbed cells, as like
the nearest measured one as measured ones usually are; anything beyond."""
USUAL = 0.95
"""Quantile of the distances of the measured to their nearest measured neighbours, beyond which something is far."""
SAME = 1e-6
"""Distance, in units of a typical vector's length, below which vectors differ by rounding."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """Of one condition.

    Args:
        distance: of the perturbations and of the context to their nearest measured ones, the larger of both, in units
            of the median distance of measured ones to their nearest neighbours; 0 where all are measured, or vectors do
            not tell them from measured ones; NaN where no vectors tell.
        reasons: for levels beyond measured.
    """

    level: Level
    distance: float
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.level}, distance {self.distance:.2g}: {'; '.join(self.reasons)}"


class MeasuredRange:
    """What was measured, to compare requests with.

    Args:
        conditions: training conditions, none of them control.
        likeness: has the vectors of perturbations and contexts.
    """

    def __init__(self, conditions: Sequence[Condition], likeness: Likeness) -> None:
        self._conditions = set(conditions)
        self._together = {together(c) for c in conditions}
        self._perturbations = set(single_perturbations(conditions))
        self._contexts = {c.control.key for c in conditions}
        self._longest = max((len(c.perturbations) for c in conditions), default=0)
        doses = [dose for c in conditions for dose in c.doses if dose is not None]
        self._doses = (min(doses), max(doses)) if doses else None
        self._times = TimePoints(conditions)
        self._of_perturbations = _Distances(likeness.perturbations, sorted(self._perturbations), str)
        self._of_contexts = _Distances(likeness.contexts, sorted(self._contexts), _values)

    def novelty(self, condition: Condition) -> Novelty:
        if condition.changes_nothing:
            return Novelty("control", 0.0)
        if condition in self._conditions:
            return Novelty("measured", 0.0)
        distances, far, reasons = [0.0], False, []
        for name in condition.perturbations if together(condition) not in self._together else ():
            if name not in self._perturbations:
                distance, beyond, said = self._of_perturbations.to(name)
                distances.append(distance)
                far |= beyond
                reasons.append(f"{name} was not measured alone ({said})")
        if condition.control.key not in self._contexts:
            distance, beyond, said = self._of_contexts.to(condition.control.key)
            distances.append(distance)
            far |= beyond
            reasons.append(f"{_values(condition.control.key)} has no perturbed training cells ({said})")
        level: Level = "far" if far else "near" if reasons else "recombined"
        if len(condition.perturbations) > self._longest:
            level = "far"
            reasons.append(f"{len(condition.perturbations)} perturbations at once, {self._longest} at most in training")
        outside = self._outside(condition)
        if outside:
            level = "far"
            reasons.append(outside)
        if not condition.perturbations and together(condition) not in self._together:
            level = "far"
            reasons.append("unperturbed cells were not measured at any later time")
        last = self._times.last(condition)
        if condition.time is not None and condition.time > last:
            level = "far"
            reasons.append(f"time {condition.time:g} is after the last one, {last:g}, and taken as that")
        return Novelty(level, float(np.max(distances)), tuple(reasons) or ("its parts were measured apart",))

    def _outside(self, condition: Condition) -> str:
        """Which doses were not measured between, in words; nothing where all were."""
        if self._doses is None:
            return ""
        low, high = self._doses
        own, members = isinstance(condition.dose, tuple), zip(condition.perturbations, condition.doses, strict=True)
        outside = [(name, dose) for name, dose in members if dose and not low <= dose <= high]
        which = dict.fromkeys(f"dose {dose:g} of {name}" if own else f"dose {dose:g}" for name, dose in outside)
        return f"{', '.join(which)} is outside of {low:g} to {high:g}" if which else ""


def _values(control_key: str) -> str:
    """Of a context, for people."""
    return ", ".join(value for _, value in Condition.from_key(control_key).context)


class _Distances:
    """To the nearest of the names that were measured.

    Args:
        predictor: has their vectors; None where nothing tells. names: those that were measured.
        in_words: a name for people.
    """

    def __init__(self, predictor: Predictor | None, names: Sequence[str], in_words: Callable[[str], str]) -> None:
        self._predictor, self._in_words = predictor, in_words
        self._names = [name for name in names if predictor is not None and predictor.tells_of(name)]

    @cached_property
    def _vectors(self) -> MeasuredVectors | None:
        if self._predictor is None or len(self._names) < 2:
            return None
        of = self._predictor.regression
        return MeasuredVectors(self._predictor.table, self._names, of.unit, of.source)

    @cached_property
    def _nearest(self) -> NDArray[np.float64]:
        """Of every measured name that differs from all others, the distance to its nearest other one."""
        if self._vectors is None:
            return np.zeros(0)
        distances = KDTree(self._vectors.x).query(self._vectors.x, k=2)[0][:, 1]
        return np.asarray(distances[distances > SAME])

    def to(self, name: str) -> tuple[float, bool, str]:
        """Distance, whether that is far, and what was found in words."""
        if self._vectors is None or not self._predictor.tells_of(name):  # type: ignore[union-attr]
            return math.nan, True, "nothing tells what it is like"
        distances = cdist(self._vectors.of([name]), self._vectors.x)[0]
        i = int(distances.argmin())
        if distances[i] <= SAME:
            return 0.0, False, f"nearest: {self._in_words(self._names[i])}, whose vector is the same to it"
        if not len(self._nearest):
            return math.nan, True, "nothing tells what it is like"
        unit, usual = float(np.median(self._nearest)), float(np.quantile(self._nearest, USUAL))
        return float(distances[i]) / unit, bool(distances[i] > usual), f"nearest: {self._in_words(self._names[i])}"
