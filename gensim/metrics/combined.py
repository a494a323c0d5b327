"""Metrics of metrics: averages of a row placed between those of two others, and the plain mean of several such."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.metric import Metric

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Component:
    """One of the metrics that a score is made of.

    Args:
        metric: better when lower or when higher.
        worst: what an average that is missing counts as.
        low, high: bounds of the scaled value.
    """

    metric: Metric
    worst: float
    low: float = -math.inf
    high: float = math.inf

    def span(self, b: Vector, c: Vector) -> Vector:
        """(B,) by how much c is better than b."""
        return b - c if self.metric.better == "lower" else c - b

    def scaled(self, u: Vector, b: Vector, c: Vector) -> Vector:
        """(B,) s = (u - b) / (c - b), within bounds; 0 where c is no better than b.

        Args:
            u: (B,) averages of the row; NaN where they are missing. b: of the baseline. c: of the ceiling.
        """
        gain, span = self.span(b, np.where(np.isnan(u), self.worst, u)), self.span(b, c)
        s = np.divide(gain, span, out=np.zeros(len(gain)), where=span > 0)
        return np.asarray(np.clip(s, self.low, self.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedMetric(Metric):
    """One whose value is the plain mean of the scaled averages of others, over whatever these are averages of.

    Args:
        of: the others.
        ceiling: what is scaled to 1: the average of the replicate, or what a metric has for `identical` populations.
    """

    of: tuple[Component, ...]
    ceiling: Literal["identical", "replicate"]
