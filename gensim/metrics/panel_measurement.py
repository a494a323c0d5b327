"""Collects vectors of conditions, one after another, and measures panels of them."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from gensim.errors import NotComputable
from gensim.metrics.comparison import Side
from gensim.metrics.measured import Measured
from gensim.metrics.panel import Panel, PanelMetric, Vector, Vectors
from gensim.types import Condition, IntArray

Place = tuple[Vectors, str, int]
"""Which vector, row, repeat."""


class Member:
    """What a panel keeps of one condition: vectors or the reasons for their absence, never cells.

    Args:
        condition: which.
        measured: where its values go.
        targets: columns of the genes that it perturbs.
        takes: which vectors to keep.
    """

    def __init__(self, condition: Condition, measured: Measured, targets: IntArray, takes: Iterable[Vectors]) -> None:
        self.condition, self.measured, self.targets, self.takes = condition, measured, targets, frozenset(takes)
        self.vectors: dict[Place, Vector] = {}
        self.reasons: dict[Place, str] = {}

    def keep(self, row: str, repeat: int, side: Side) -> None:
        for name in self.takes:
            try:
                self.vectors[name, row, repeat] = getattr(side, name)
            except NotComputable as error:
                self.reasons[name, row, repeat] = str(error)


def measure_panels(
    members: Sequence[Member], metrics: Sequence[PanelMetric], real: str, rows: Sequence[str], n_repeats: int
) -> None:
    """Add the values of panel metrics to what was measured of each condition.

    Args:
        members: all scored conditions; those of one context make a panel.
        metrics: of panels.
        real: the name under which the members keep what every row is compared with.
        rows: names of the rows.
        n_repeats: repeats that the members keep.
    """
    for _, of_context in groupby(sorted(members, key=_context), key=_context):
        group = list(of_context)
        for row in rows:
            for repeat in range(n_repeats):
                for name in dict.fromkeys(metric.takes for metric in metrics):
                    wanted = [m for m in metrics if m.takes == name and m.in_repeat(repeat)]
                    _measure(group, wanted, [(name, real, repeat), (name, row, repeat)], row)


def _measure(group: list[Member], metrics: list[PanelMetric], places: list[Place], row: str) -> None:
    present = [member for member in group if all(place in member.vectors for place in places)]
    panel = None
    if len(present) > 1:
        real, predicted = (np.stack([member.vectors[place] for member in present]) for place in places)
        panel = Panel(real, predicted, [member.targets for member in present])
    for metric in metrics:
        for k, member in enumerate(present):
            member.measured.take(row, metric.key, _value, metric, panel, k)
        for member in group:
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
