"""At which times conditions were measured: what lies before one, what around it, and the way there from control."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gensim.perturbations.measured import Key, Likeness, MeasuredConditions
from gensim.types import Condition


@dataclass(frozen=True, slots=True)
class Leg:
    """Part of the way from control cells to a condition: from whatever lies before `end`.

    Args:
        end: condition that the leg leads to.
        share: of the leg that is gone, above 0 and at most 1.
    """

    end: Condition
    share: float = 1.0


class TimePoints:
    """Times of K perturbed conditions; of none where they have no time.

    A condition passes through the times at which it was measured (its perturbations in its context at its dose), and
    then through later ones at which others were; one that was not measured passes through all.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        own: dict[Condition, set[float]] = defaultdict(set)
        for condition in conditions:
            if condition.time:
                own[_timeless(condition)].add(condition.time)
        self.all = tuple(sorted(set().union(*own.values())))
        self._own = {condition: sorted(times) for condition, times in own.items()}

    def previous(self, condition: Condition) -> Condition:
        """What the cells of a condition come from: the same at the latest time before, or control."""
        earlier = [time for time in self._of(condition) if time < (condition.time or 0)]
        return replace(condition, time=earlier[-1]) if earlier else condition.control

    def legs(self, condition: Condition) -> list[Leg]:
        """From control to a condition; a single one where it has no time.

        Between two times the last leg leads to the later one, and ends where the time asked for divides it. Beyond the
        last time there is no further leg.
        """
        if condition.changes_nothing or condition.time is None or not self.all:
            return [Leg(condition)]
        ends = [replace(condition, time=time) for time in self._of(condition)]
        wanted = [end for end in ends if end.time < condition.time]  # type: ignore[operator]
        legs = [Leg(end) for end in wanted]
        if len(wanted) < len(ends):
            before, after = wanted[-1].time if wanted else 0.0, ends[len(wanted)]
            legs.append(Leg(after, (condition.time - before) / (after.time - before)))  # type: ignore[operator]
        return legs

    def _of(self, condition: Condition) -> list[float]:
        own = self._own.get(_timeless(condition), [])
        return own + [time for time in self.all if not own or time > own[-1]]


class MeasuredCourses:
    """K perturbed conditions at any times, found by their perturbations.

    Args:
        conditions: with a time each, or none with one.
    """

    def __init__(self, conditions: Sequence[Condition], likeness: Likeness | None = None) -> None:
        self.times = TimePoints(conditions)
        at: dict[float | None, list[int]] = defaultdict(list)
        for k, condition in enumerate(conditions):
            at[condition.time].append(k)
        self._at = {
            time: (rows, MeasuredConditions([conditions[k] for k in rows], likeness)) for time, rows in at.items()
        }

    def weights(self, condition: Condition) -> dict[Key, float]:
        """Weights of the measured effects whose sum is the expected effect of a condition.

        At a time at which anything was measured see `MeasuredConditions.weights`, of what was measured at that time;
        else in between the two times around it, by the share of time that has passed; beyond the last time as there.
        """
        if condition.changes_nothing:
            return {}
        *earlier, last = self.times.legs(condition)
        found = self._at_time(last.end, last.share)
        if earlier and last.share < 1:
            for key, weight in self._at_time(earlier[-1].end, 1 - last.share).items():
                found[key] = found.get(key, 0.0) + weight
        return found

    def _at_time(self, condition: Condition, factor: float) -> dict[Key, float]:
        if condition.time not in self._at:
            return {}
        rows, measured = self._at[condition.time]
        return {(rows[k], shrunk): factor * w for (k, shrunk), w in measured.weights(condition).items()}


def _timeless(condition: Condition) -> Condition:
    return replace(condition, time=None)
