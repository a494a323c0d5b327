"""Metrics of all conditions of a context together, such as whether a prediction is nearest to its own condition."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.conformal import Conformal
from gensim.metrics.metric import Metric
from gensim.types import IntArray

Vector = NDArray[np.float64]
Vectors = Literal["mean", "delta", "delta_2026", "response_classes", "noisy_bulk", "noisy_shift"]
OF_COUNTS = frozenset[Vectors]({"delta_2026", "noisy_bulk", "noisy_shift"})
"""Those that are of summed counts, where these are known."""
NO_INTERVAL = "one value for all conditions together has no interval over conditions"
FEW_CONDITIONS = "fewer than 2 conditions have such cells"


@dataclass(frozen=True)  # without slots, since what all conditions share is computed once and kept
class Panel:
    """One vector per condition of a context, of the real and of the predicted cells.

    Args:
        real: (K, G) in the order of the conditions.
        predicted: (K, G).
        targets: K times the columns of the genes that the condition perturbs; empty where they are not measured.
        contexts: K times the key of its context; empty: all are of one.
    """

    real: Vector
    predicted: Vector
    targets: Sequence[IntArray]
    contexts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def conformal(self) -> Conformal:
        """Of vectors that are effects."""
        return Conformal.of(self.real, self.predicted)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelMetric(Metric):
    """One that sees all conditions of a context.

    Args:
        takes: the property of `Side` that is a vector of the panel.
        function: the value for the k-th condition of a panel of two or more; raises `NotComputable` with the reason.
        seen_apart: conditions that training had are no panel with those that it had not; all are where that is unknown.
    """

    takes: Vectors
    function: Callable[[Panel, int], float]
    seen_apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledMetric(Metric):
    """One that has a single value for all conditions, of all contexts.

    Args:
        takes: as in `PanelMetric`.
        function: the value of a panel of two or more conditions; raises `NotComputable` with the reason.
        takes_of_real: of the real cells, where that is another.
    """

    takes: Vectors
    function: Callable[[Panel], float]
    takes_of_real: Vectors | None = None


def taken(metrics: Iterable[Metric]) -> tuple[frozenset[Vectors], frozenset[Vectors]]:
    """The vectors that metrics of panels take of the real, and of the predicted cells."""
    of_panels = [metric for metric in metrics if isinstance(metric, PanelMetric | PooledMetric)]
    pooled = [metric for metric in of_panels if isinstance(metric, PooledMetric)]
    of_real = {metric.takes for metric in of_panels} | {m.takes_of_real for m in pooled if m.takes_of_real is not None}
    return frozenset(of_real), frozenset(metric.takes for metric in of_panels)
