"""What a row of the catalogue says of a metric."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gensim.metrics.comparison import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A row of the catalogue.

    Args:
        key: column name in files.
        name: for people, with the variant spelled out.
        better: which direction is better; `nearest`: the nearer to `identical`, from either side.
        range: smallest and largest value of the quantity; an unbiased estimate of it may fall below the smallest.
        identical: value (expected, for an unbiased estimate) where both populations are the same.
        unit: of the value.
        space: where it is taken.
        source: publication.
        repeats: it is taken in the first so many repeats of an evaluation; None: in all.
        in_processes: whether it holds the interpreter while it works, so that threads are of no use.
    """

    key: str
    name: str
    better: Literal["lower", "higher", "nearest"]
    range: tuple[float, float]
    identical: float
    unit: str
    space: Literal["genes", "PCA"]
    source: str
    repeats: int | None = None
    in_processes: bool = False

    def in_repeat(self, repeat: int) -> bool:
        return self.repeats is None or repeat < self.repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionMetric(Metric):
    """One that sees one condition.

    Args:
        function: the value for a comparison; raises `NotComputable` with the reason.
        of_means: the same of the (G,) real and predicted mean cell, for those that depend on cells by their means
            alone; None for all others.
        against_controls: `of_means` takes effects, means less that of control cells.
    """

    function: Callable[[Comparison], float]
    of_means: Callable[[NDArray[np.float64], NDArray[np.float64]], float] | None = None
    against_controls: bool = False
