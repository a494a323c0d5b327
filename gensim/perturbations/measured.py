"""Which measured conditions say most of another one."""

from collections import defaultdict
from collections.abc import Sequence

from gensim.types import Condition


class MeasuredConditions:
    """K conditions, found by their perturbations."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.conditions = conditions
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
