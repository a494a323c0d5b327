"""Values of metrics that are made of others, from what an evaluation found of these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gensim.metrics.combined import CombinedMetric, Component, Vector
from gensim.metrics.metric import Metric
from gensim.metrics.panel import PooledMetric
from gensim.metrics.results import MEAN_RESPONSE, REPLICATE, ROWS, ConditionResult, GroupSummary
from gensim.metrics.scores import ONE_CONDITION, Estimate, interval, resampled_means

NO_BASELINE = (
    f"effects of training conditions are not known, so there is no row {MEAN_RESPONSE} to score against; evaluate with "
    "--run or --train"
)
Averages = Mapping[tuple[str, str], Estimate]


def with_combined(
    groups: Iterable[GroupSummary], results: Sequence[ConditionResult], metrics: Sequence[Metric], seed: int
) -> tuple[GroupSummary, ...]:
    """The groups with the values of combined metrics among their averages.

    Args:
        groups: with the averages of everything else.
        results: of all conditions.
        metrics: those that are asked for.
        seed: of the bootstrap.
    """
    wanted = [metric for metric in metrics if isinstance(metric, CombinedMetric)]
    return tuple(_with_combined(group, [r for r in results if group.has(r.seen)], wanted, seed) for group in groups)


def _with_combined(
    group: GroupSummary, results: Sequence[ConditionResult], metrics: Sequence[CombinedMetric], seed: int
) -> GroupSummary:
    rows = [row for row in ROWS if any(row == name for name, _ in group.averages)]
    found = {(row, m.key): _Scale(m, row, group.averages).estimate(results, seed) for m in metrics for row in rows}
    return replace(group, averages={**group.averages, **found})


@dataclass(frozen=True, slots=True)
class _Scale:
    """One metric of one row, and the averages that it is made of."""

    metric: CombinedMetric
    row: str
    averages: Averages

    def estimate(self, results: Sequence[ConditionResult], seed: int) -> Estimate:
        """Its value with the 95 % interval of the bootstrap over conditions, jointly in all components and rows.

        No value where the baseline or the ceiling has none of a component, where a replicate is no better than the
        baseline, and where the row has none of any component; no interval of one condition, where a component has one
        value for all conditions, or where baseline and ceiling are out of order in any resample; each with its reason.
        """
        reason = self._why_not()
        if reason is not None:
            return Estimate(None, None, None, 0, reason)
        value = float(np.mean([c.scaled(*self._ends(c, self._averages(c))) for c in self.metric.of]))
        lacking = [c.metric.key for c in self.metric.of if self._value(self.row, c) is None]
        notes = [f"no value of {', '.join(lacking)}, which counts as the worst"] if lacking else []
        low, high, why_no_interval = self._interval(results, seed)
        notes += [] if why_no_interval is None else [why_no_interval]
        return Estimate(value, low, high, len(results), "; ".join(notes) or None)

    @property
    def _rows(self) -> tuple[str, ...]:
        """Its own and those that it is scaled by."""
        return (self.row, MEAN_RESPONSE, REPLICATE) if self.metric.ceiling == "replicate" else (self.row, MEAN_RESPONSE)

    def _why_not(self) -> str | None:
        components = self.metric.of
        unknown = [c.metric.key for c in components if (self.row, c.metric.key) not in self.averages]
        if unknown:
            return f"not measured: {', '.join(unknown)}"
        if any((MEAN_RESPONSE, c.metric.key) not in self.averages for c in components):
            return NO_BASELINE
        needed = [(row, c) for row in self._rows[1:] for c in components if self._value(row, c) is None]
        if not needed and all(self._value(self.row, c) is None for c in components):
            needed = [(self.row, c) for c in components]
        if needed:
            return self._reasons(needed)
        if self.metric.ceiling == "identical":
            return None
        flat = [c.metric.key for c in components if not c.span(*self._ends(c, self._averages(c))[1:])[0] > 0]
        return f"the replicate is no better than {MEAN_RESPONSE} by {', '.join(flat)}: no scale" if flat else None

    def _value(self, row: str, component: Component) -> float | None:
        return self.averages[row, component.metric.key].value

    def _reasons(self, places: Iterable[tuple[str, Component]]) -> str:
        """Why these have no value, each reason once."""
        keys: dict[tuple[str, str | None], list[str]] = {}
        for row, component in places:
            key = component.metric.key
            keys.setdefault((row, self.averages[row, key].reason), []).append(key)
        return "; ".join(f"{row}: {', '.join(found)}: {reason}" for (row, reason), found in keys.items())

    def _averages(self, component: Component) -> Vector:
        """(1, 2 or 3) of the rows; NaN where there is none."""
        return np.array([[self._value(row, component) for row in self._rows]], dtype=np.float64)

    def _ends(self, component: Component, averages: Vector) -> tuple[Vector, Vector, Vector]:
        """u, b and c of (B, 2 or 3) averages of the rows."""
        u, b, *c = averages.T
        return u, b, c[0] if c else np.full_like(b, component.metric.identical)

    def _interval(self, results: Sequence[ConditionResult], seed: int) -> tuple[float | None, float | None, str | None]:
        """Its ends, or the reason why there are none."""
        whole = [c.metric.key for c in self.metric.of if isinstance(c.metric, PooledMetric)]
        if whole:
            return None, None, f"no interval: {', '.join(whole)} has one value for all conditions together"
        if len(results) == 1:
            return None, None, ONE_CONDITION
        places = [(row, c.metric.key) for c in self.metric.of for row in self._rows]
        values = np.array([[r.measurements[place].value for place in places] for r in results], dtype=np.float64)
        parts = np.split(resampled_means(values, seed), len(self.metric.of), axis=1)
        ends = [self._ends(c, part) for c, part in zip(self.metric.of, parts, strict=True)]
        scale = np.all([c.span(*e[1:]) > 0 for c, e in zip(self.metric.of, ends, strict=True)], axis=0)
        if not scale.all():
            return None, None, f"no interval: {np.mean(~scale):.1%} of resamples have no scale"
        scores = np.mean([c.scaled(*e) for c, e in zip(self.metric.of, ends, strict=True)], axis=0)
        return *interval(scores), None
