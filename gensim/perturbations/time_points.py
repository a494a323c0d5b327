"""At which times conditions were measured: what their cells come from, and the way there from control."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gensim.types import Condition


@dataclass(frozen=True, slots=True)
class Leg:
    """Part of the way from control cells to a condition.

    Args:
        start, end: conditions between which it leads.
        share: of the leg that is gone, above 0 and at most 1.
    """

    start: Condition
    end: Condition
    share: float = 1.0


class TimePoints:
    """Times above 0 of K perturbed conditions; none where they have no time.

    Args:
        conditions: that were measured.

    Attributes:
        all: the times, ascending.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        own: dict[Condition, set[float]] = defaultdict(set)
        for condition in conditions:
            if condition.time:
                own[timeless(condition)].add(condition.time)
        self.all = tuple(sorted(set().union(*own.values())))
        self._own = {condition: sorted(times) for condition, times in own.items()}

    def source(self, condition: Condition) -> Condition:
        """What the cells of a condition are coupled with: the same (in its context, at its dose) at the latest time
        before at which that was measured, or control."""
        earlier = [time for time in self._own.get(timeless(condition), ()) if time < (condition.time or 0)]
        return replace(condition, time=earlier[-1]) if earlier else condition.control

    def sources(self, conditions: Sequence[Condition]) -> list[Condition]:
        """See `source`."""
        return [self.source(condition) for condition in conditions]

    def legs(self, condition: Condition) -> list[Leg]:
        """From control to a condition; a single one where it has no time.

        It leads through the times at which the condition was measured; through all, where it was at none. Between two
        of them the last leg leads to the later one and ends at the share of time that has passed. Beyond the last one
        there is no further leg.
        """
        if condition.changes_nothing or condition.time is None or not self.all:
            return [Leg(condition.control, condition)]
        legs, before = [], condition.control
        for time in self._own.get(timeless(condition), self.all):
            end, since = replace(condition, time=time), before.time or 0.0
            if since >= condition.time:
                break
            legs.append(Leg(before, end, min(1.0, (condition.time - since) / (time - since))))
            before = end
        return legs

    def last(self, condition: Condition) -> float:
        """The latest time up to which anything is known of a condition."""
        return max(self._own.get(timeless(condition), self.all), default=0.0)


def timeless(condition: Condition) -> Condition:
    """The same whenever."""
    return replace(condition, time=None)
