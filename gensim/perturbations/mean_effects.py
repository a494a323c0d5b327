"""The mean effect of every training condition, and what it says about conditions that were not measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gensim.perturbations.condition_file import load_by_condition, save_by_condition
from gensim.perturbations.courses import MeasuredCourses
from gensim.perturbations.measured import Context, Key, Likeness, Together, together
from gensim.perturbations.shrinkage import steadied
from gensim.perturbations.time_points import TimePoints
from gensim.types import Condition, FloatArray, IntArray, blocks

ROWS_AT_ONCE = 4096
SHIFTS_KEPT = 1024
SMALLEST_SHARE = 1e-3
"""Of the noise, that effects are taken to have where there seem to be none."""


@dataclass(frozen=True, slots=True)
class MeanEffects:
    """Mean of the perturbed minus mean of the control cells of the same context, per training condition.

    Args:
        conditions: K training conditions, none of them control.
        delta: (K, F) float32, in whatever space the means were taken (genes as log1p CP10k, or latents).
        plain: (K, F) the same before they were shrunk; None where they were not.
        variance: (K,) float32 sum of the variances of the F plain effects, in units of the mean squared length of the
            effects behind them; None where it is not known.
        noise: (K, 2) float32 summed variances of the F means of the perturbed and of their control cells; the latter is
            an error that all effects of a context share. None where it is not known.
        likeness: what tells of other conditions.
    """

    conditions: tuple[Condition, ...]
    delta: FloatArray
    plain: FloatArray | None = None
    variance: FloatArray | None = None
    noise: FloatArray | None = None
    likeness: Likeness = field(default_factory=Likeness, compare=False)
    _measured: MeasuredCourses = field(init=False, repr=False, compare=False)
    _shifts: dict[Condition, FloatArray] = field(init=False, repr=False, compare=False)
    _contexts: dict[Together, set[Context]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shifts", {})
        contexts: dict[Together, set[Context]] = {}
        for condition in self.conditions:
            contexts.setdefault(together(condition), set()).add(condition.context)
        object.__setattr__(self, "_contexts", contexts)
        object.__setattr__(self, "_measured", MeasuredCourses(self.conditions, self.likeness))

    def shift(self, condition: Condition) -> FloatArray:
        """(F,) expected effect of `condition`, from the most specific training knowledge there is; 0 for control.

        See `MeasuredCourses.weights` and `MeasuredConditions.weights`: the condition itself, or others with the same
        perturbations, or the sum of the members of a combination; what was never measured by regression, or as the
        mean of what was.
        """
        # Blocks of cells ask for the same conditions again and again. Another thread may clear what is kept.
        shift = self._shifts.get(condition)
        if shift is None:
            shift = self._sum(self._measured.weights(condition))
            if len(self._shifts) >= SHIFTS_KEPT:
                self._shifts.clear()
            self._shifts[condition] = shift
        return shift

    def are_borrowed(self, condition: Condition) -> bool:
        """Whether some of what is expected of `condition` was measured in other contexts, if only that nothing is."""
        if condition.changes_nothing:
            return False
        weights = self._measured.weights(condition)
        parts = [condition] if self.are_measured(condition) else condition.members
        return any(self.conditions[k].context != condition.context for k, _ in weights) or any(
            self.are_measured(part) and not self.are_measured_here(part) for part in parts
        )

    def are_measured(self, condition: Condition) -> bool:
        """Whether these perturbations were measured together, in whatever context, at whatever dose or time; those at
        doses of their own, whether at these doses."""
        return together(condition) in self._contexts

    def are_measured_here(self, condition: Condition) -> bool:
        """The same in this context."""
        return condition.context in self._contexts.get(together(condition), ())

    def shared_error(self, condition: Condition) -> float:
        """Squared length of the error that what is expected of `condition` has in common with all that was measured
        against the same control cells; 0 where it is not known."""
        if self.noise is None:
            return 0.0
        weights = self._measured.weights(condition).items()
        return sum(
            w * float(self.noise[k, 1]) for (k, _), w in weights if self.conditions[k].control == condition.control
        )

    def _sum(self, weights: dict[Key, float]) -> FloatArray:
        total = np.zeros(self.delta.shape[1])
        for as_shrunk, effects in ((True, self.delta), (False, self.delta if self.plain is None else self.plain)):
            rows = [(k, weight) for (k, shrunk), weight in weights.items() if shrunk == as_shrunk]
            if rows:
                where, weight = zip(*rows, strict=True)
                total += np.array(weight) @ effects[list(where)].astype(np.float64)
        return total.astype(np.float32)

    @property
    def times(self) -> TimePoints:
        """At which the conditions were measured."""
        return self._measured.times

    def beyond_development(self) -> "MeanEffects":
        """The effects of perturbations less those of unperturbed cells of the same time in the same context, where such
        were measured; the same effects where there are none."""
        unperturbed = {c: k for k, c in enumerate(self.conditions) if not c.perturbations}
        kept = [k for k, condition in enumerate(self.conditions) if condition.perturbations]
        if not unperturbed or not kept:
            return self
        conditions = tuple(self.conditions[k] for k in kept)
        developed = [Condition((), condition.context, None, condition.time) for condition in conditions]
        less = np.stack([self.shift(condition) for condition in developed])
        plain, variance, noise = (None if a is None else a[kept] for a in (self.plain, self.variance, self.noise))
        if noise is not None and self.noise is not None:
            # What is taken from them takes the place of their controls where it was measured, as if it were not shrunk.
            of_less = [
                self.noise[unperturbed[c], 0] if c in unperturbed else shared
                for c, shared in zip(developed, noise[:, 1], strict=True)
            ]
            noise = np.stack([noise[:, 0], of_less], axis=1)
        return replace(
            self,
            conditions=conditions,
            delta=self.delta[kept] - less,
            plain=None if plain is None else plain - less,
            variance=variance,
            noise=noise,
        )

    def informed(self, likeness: Likeness) -> "MeanEffects":
        """The same effects with something that tells of conditions that were not measured."""
        return replace(self, likeness=likeness)

    def knowing_contexts(self, vectors: Mapping[str, FloatArray]) -> "MeanEffects":
        """The same effects, told of further contexts (see `Likeness`)."""
        return self.informed(self.likeness.knowing_contexts(vectors))

    def without_context(self, control: Condition) -> "MeanEffects":
        """What is known from other contexts than that of `control`; all where there is no other."""
        kept = [k for k, condition in enumerate(self.conditions) if condition.control != control]
        if not kept:
            return self
        plain, variance, noise = (None if a is None else a[kept] for a in (self.plain, self.variance, self.noise))
        conditions = tuple(self.conditions[k] for k in kept)
        return MeanEffects(conditions, self.delta[kept], plain, variance, noise, self.likeness)

    @property
    def variances(self) -> dict[Condition, float]:
        """By condition; empty where they are not known."""
        if self.variance is None:
            return {}
        return dict(zip(self.conditions, self.variance.tolist(), strict=True))

    def save(self, path: Path) -> None:
        arrays = {"delta": self.delta, "plain": self.plain, "variance": self.variance, "noise": self.noise}
        save_by_condition(path, self.conditions, {name: a for name, a in arrays.items() if a is not None})

    @classmethod
    def load(cls, path: Path) -> "MeanEffects":
        conditions, arrays = load_by_condition(path)
        return cls(conditions, arrays["delta"], arrays.get("plain"), arrays.get("variance"), arrays.get("noise"))


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
    plain, own, of_controls = [], [], []
    for condition in perturbed:
        treated, control = _moments(read, present[condition]), controls[condition.control]
        plain.append(treated.mean - control.mean)
        own.append(steadied(treated.variance_of_mean, treated.n, control.variance_of_mean, control.n))
        of_controls.append(control.variance_of_mean)
    shape = (len(perturbed), read(rows[:1]).shape[1])
    noise = np.reshape(own, shape), np.reshape(of_controls, shape)
    return measured_effects(perturbed, np.reshape(plain, shape), *noise, shrink)


def measured_effects(
    conditions: tuple[Condition, ...],
    plain: NDArray[np.float64],
    own: NDArray[np.float64],
    of_controls: NDArray[np.float64],
    shrink: Shrinkage | None,
) -> MeanEffects:
    """Effects as they were measured, and what is surely there of them.

    Args:
        conditions: K perturbed conditions.
        plain: (K, F) effects. own, of_controls: (K, F) variances of the means that they are differences of.
        shrink: see `fit_mean_effects`.
    """
    variance, before = own + of_controls, plain.astype(np.float32)
    relative = _relative(variance.sum(axis=1), plain)
    noise = np.stack([own.sum(axis=1), of_controls.sum(axis=1)], axis=1).astype(np.float32)
    if shrink is None:
        return MeanEffects(conditions, before, variance=relative, noise=noise)
    shrunk = [shrink(*measured) for measured in zip(plain, variance, strict=True)]
    return MeanEffects(conditions, np.reshape(shrunk, plain.shape).astype(np.float32), before, relative, noise)


def _relative(noise: NDArray[np.float64], plain: NDArray[np.float64]) -> FloatArray:
    """(K,) variances in units of the mean squared length of the effects behind (K, F) measured ones."""
    if not len(noise):
        return noise.astype(np.float32)
    length = max(float((np.square(plain).sum(axis=1) - noise).mean()), SMALLEST_SHARE * float(noise.mean()))
    return (noise / length if length > 0 else np.zeros_like(noise)).astype(np.float32)


def _moments(read: Callable[[IntArray], FloatArray], rows: IntArray) -> Moments:
    """Mean in one pass, variance around it in a second, in float64."""
    n = len(rows)
    mean = np.sum([read(rows[part]).sum(axis=0, dtype=np.float64) for part in blocks(n, ROWS_AT_ONCE)], axis=0) / n
    squares = [np.square(read(rows[part]) - mean).sum(axis=0) for part in blocks(n, ROWS_AT_ONCE)]
    return Moments(n, mean, np.sum(squares, axis=0) / max(1, n - 1) / n)
