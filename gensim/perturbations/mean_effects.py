"""The mean effect of every training condition, and what it says about conditions that were not measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gensim.perturbations.condition_file import load_by_condition, save_by_condition
from gensim.perturbations.measured import MeasuredConditions
from gensim.perturbations.shrinkage import steadied
from gensim.types import Condition, FloatArray, IntArray, blocks

ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class MeanEffects:
    """Mean of the perturbed minus mean of the control cells of the same context, per training condition.

    Args:
        conditions: K training conditions, none of them control.
        delta: (K, F) float32, in whatever space the means were taken (genes as log1p CP10k, or latents).
    """

    conditions: tuple[Condition, ...]
    delta: FloatArray
    _measured: MeasuredConditions = field(init=False, repr=False, compare=False)
    _means: dict[tuple[int, ...], FloatArray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_means", {})
        object.__setattr__(self, "_measured", MeasuredConditions(self.conditions))

    def shift(self, condition: Condition) -> FloatArray:
        """(F,) expected effect of `condition`, from the most specific training knowledge there is.

        In this order: control is 0; the condition itself; the mean over training conditions with the same
        perturbations and context at other doses; the same perturbations in other contexts, at this dose where there
        are such; for a combination the sum of its members' shifts, where each member was seen; the mean of all
        training conditions of the context; the mean of all training conditions. Every mean gives each condition the
        same weight.
        """
        if condition.is_control or not self.conditions:
            return np.zeros(self.delta.shape[1], dtype=np.float32)
        specific = self._specific(condition)
        if specific is not None:
            return specific
        if len(condition.perturbations) > 1:
            singles = [Condition((name,), condition.context, condition.dose) for name in condition.perturbations]
            seen = [member for single in singles if (member := self._specific(single)) is not None]
            if len(seen) == len(singles):
                total: FloatArray = np.stack(seen).sum(axis=0, dtype=np.float32)
                return total
        same_context = [k for k, c in enumerate(self.conditions) if c.context == condition.context]
        return self._mean(same_context or list(range(len(self.conditions))))

    def _specific(self, condition: Condition) -> FloatArray | None:
        """The mean over the nearest conditions with exactly these perturbations; None where there is none."""
        nearest = self._measured.like(condition)
        return self._mean(nearest) if nearest else None

    def _mean(self, rows: list[int]) -> FloatArray:
        if len(rows) == 1:
            only: FloatArray = self.delta[rows[0]]
            return only
        # Unseen conditions ask for the same mean over many rows again and again.
        key = tuple(rows)
        if key not in self._means:
            self._means[key] = self.delta[rows].mean(axis=0, dtype=np.float64).astype(np.float32)
        return self._means[key]

    def save(self, path: Path) -> None:
        save_by_condition(path, self.conditions, {"delta": self.delta})

    @classmethod
    def load(cls, path: Path) -> "MeanEffects":
        conditions, arrays = load_by_condition(path)
        return cls(conditions, arrays["delta"])


Shrinkage = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


class Moments(NamedTuple):
    """Of n cells: (F,) mean and (F,) variance of that mean."""

    n: int
    mean: NDArray[np.float64]
    variance_of_mean: NDArray[np.float64]


def fit_mean_effects(
    read: Callable[[IntArray], FloatArray],
    condition_of: IntArray,
    conditions: Sequence[Condition],
    rows: IntArray,
    *,
    shrink: Shrinkage | None = None,
) -> MeanEffects:
    """Mean effects of the conditions that have cells among `rows`, each against the control cells of its context there.

    A measured mean is its expectation plus noise, and most perturbations of a screen do little.

    Args:
        read: rows to their (n, F) cells, in whatever space the effects are wanted.
        condition_of: (N,) row of `conditions` for every cell.
        rows: the training cells.
        shrink: (F,) differences of means and (F,) variances of these to the effects that predict best; None: the plain
            differences.
    """
    present = {conditions[k]: rows[condition_of[rows] == k] for k in np.unique(condition_of[rows])}
    perturbed = tuple(c for c in present if not c.is_control and c.control in present)
    controls = {control: _moments(read, present[control]) for control in {c.control for c in perturbed}}
    delta = []
    for condition in perturbed:
        treated, control = _moments(read, present[condition]), controls[condition.control]
        difference = treated.mean - control.mean
        if shrink is not None:
            own = steadied(treated.variance_of_mean, treated.n, control.variance_of_mean, control.n)
            difference = shrink(difference, own + control.variance_of_mean)
        delta.append(difference.astype(np.float32))
    width = read(rows[:1]).shape[1]
    return MeanEffects(perturbed, np.stack(delta) if delta else np.zeros((0, width), dtype=np.float32))


def _moments(read: Callable[[IntArray], FloatArray], rows: IntArray) -> Moments:
    """Mean in one pass, variance around it in a second, in float64."""
    n = len(rows)
    mean = np.sum([read(rows[part]).sum(axis=0, dtype=np.float64) for part in blocks(n, ROWS_AT_ONCE)], axis=0) / n
    squares = [np.square(read(rows[part]) - mean).sum(axis=0) for part in blocks(n, ROWS_AT_ONCE)]
    return Moments(n, mean, np.sum(squares, axis=0) / max(1, n - 1) / n)
