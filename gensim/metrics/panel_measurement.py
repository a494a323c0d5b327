"""Collects vectors of conditions, one after another, and measures panels of them."""

from collections.abc import Iterable, Sequence
from itertools import groupby, product

import numpy as np

from gensim.errors import NotComputable
from gensim.metrics.comparison import Side
from gensim.metrics.measured import Measured
from gensim.metrics.panel import FEW_CONDITIONS, NO_INTERVAL, Panel, PanelMetric, PooledMetric, Vector, Vectors
from gensim.metrics.scores import Estimate
from gensim.types import Condition, IntArray

Place = tuple[Vectors, str, int]
"""Which vector, row, repeat."""


class Member:
    """What a panel keeps of one condition: vectors or the reasons for their absence, never cells.

    Args:
        condition: which.
        measured: where its values go.
        targets: columns of the genes that it perturbs.
        seen: whether training had it; None where that is not known.
    """

    def __init__(self, condition: Condition, measured: Measured, targets: IntArray, seen: bool | None = None) -> None:
        self.condition, self.measured, self.targets, self.seen = condition, measured, targets, seen
        self.vectors: dict[Place, Vector] = {}
        self.reasons: dict[Place, str] = {}

    def keep(self, row: str, repeat: int, side: Side, takes: Iterable[Vectors]) -> None:
        """Keep these vectors of a side."""
        for name in takes:
            try:
                self.vectors[name, row, repeat] = getattr(side, name)
            except NotComputable as error:
                self.reasons[name, row, repeat] = str(error)


def measure_panels(
    members: Sequence[Member], metrics: Sequence[PanelMetric], real: str, rows: Sequence[str], n_repeats: int
) -> None:
    """Add the values of panel metrics to what was measured of each condition.

    Args:
        members: all scored conditions; those of one context make a panel (see `PanelMetric.seen_apart`).
        metrics: of panels.
        real: the name under which the members keep what every row is compared with.
        rows: names of the rows.
        n_repeats: repeats that the members keep.
    """
    for apart, key in ((False, _context), (True, _context_and_seen)):
        alike = [metric for metric in metrics if metric.seen_apart is apart]
        for _, together in groupby(sorted(members, key=key), key=key):
            group = list(together)
            for row, repeat in product(rows, range(n_repeats)):
                for name in dict.fromkeys(metric.takes for metric in alike):
                    wanted = [m for m in alike if m.takes == name and m.in_repeat(repeat)]
                    _measure(group, wanted, [(name, real, repeat), (name, row, repeat)], row)


def pooled(
    members: Sequence[Member], metrics: Sequence[PooledMetric], real: str, rows: Sequence[str], n_repeats: int
) -> dict[tuple[str, str], Estimate]:
    """Values of pooled metrics by row and key, averages over the repeats; arguments as in `measure_panels`."""
    found = {}
    for metric in metrics:
        for row in rows:
            values: list[float] = []
            reasons: set[str] = set()
            void: set[str] = set()
            n = 0
            for repeat in range(n_repeats):
                places = [(metric.takes_of_real or metric.takes, real, repeat), (metric.takes, row, repeat)]
                present, panel = _panel(members, places)
                reasons |= {m.reasons[place] for m in members for place in places if place in m.reasons}
                if panel is not None and metric.in_repeat(repeat):
                    try:
                        values.append(metric.function(panel))
                    except NotComputable as error:
                        void.add(str(error))
                    n = len(present)
            if void:
                found[row, metric.key] = Estimate(None, None, None, 0, "; ".join(sorted(void)))
            elif values:
                found[row, metric.key] = Estimate(float(np.mean(values)), None, None, n, NO_INTERVAL)
            else:
                why = "; ".join(sorted(reasons)) or FEW_CONDITIONS
                found[row, metric.key] = Estimate(None, None, None, 0, why)
    return found


def _panel(members: Sequence[Member], places: Sequence[Place]) -> tuple[list[Member], Panel | None]:
    """Those that have both vectors, and their panel, of two or more."""
    present = [member for member in members if all(place in member.vectors for place in places)]
    if len(present) < 2:
        return present, None
    real, predicted = (np.stack([member.vectors[place] for member in present]) for place in places)
    return present, Panel(real, predicted, [m.targets for m in present], [_context(m) for m in present])


def _measure(group: list[Member], metrics: list[PanelMetric], places: list[Place], row: str) -> None:
    present, panel = _panel(group, places)
    for metric in metrics:
        for k, member in enumerate(present):
            member.measured.take(row, metric.key, _value, metric, panel, k)
        for member in group:
            if not any(name == row for _, name, _ in (*member.vectors, *member.reasons)):
                continue
            for place in places:
                if place in member.reasons:
                    member.measured.reasons[row, metric.key] = member.reasons[place]


def _value(metric: PanelMetric, panel: Panel | None, k: int) -> float:
    if panel is None:
        raise NotComputable(
            "it compares with other conditions, and no other of this context has a value to compare with"
        )
    return metric.function(panel, k)


def _context(member: Member) -> str:
    return member.condition.control.key


def _context_and_seen(member: Member) -> str:
    return f"{_context(member)} {member.seen}"
