"""Weights of what was measured in the effect of something else, as their vectors are alike.

Names are of perturbations, or of contexts.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from gensim.perturbations.vectors import VectorTable

Float64Array = NDArray[np.float64]
Kind = Literal["none", "mean", "nearest", "ridge", "kernel_ridge"]
KINDS: tuple[Kind, ...] = ("none", "mean", "nearest", "ridge", "kernel_ridge")

NEIGHBOURS = (1, 2, 3, 5, 10, 20)
NOISE = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
REACH = (0.25, 0.5, 1.0, 2.0)
ROUNDING = 1e-6
"""Of the length of vectors, below which they differ by nothing else."""
INTERCEPT_VARIANCE = 100.0
"""In units of the variance of effects: as good as free."""


@dataclass(frozen=True, slots=True)
class Regression:
    """How the effect of what was not measured follows from what was, as weights of the latter.

        none          no effect
        mean          all alike
        nearest       the k nearest alike, 0 for the others
        ridge         w = k(x, X) (k(X, X) + diag(noise + v))^-1,    k(x, y) = x · y
        kernel_ridge  the same with                                  k(x, y) = exp(-|x - y|² / (4 reach²))

    Vectors are centred at the mean of the measured ones and scaled to a mean squared length of 1 (so that a mean
    squared distance is 2, and `reach` is in units of typical distances). v is the variance of each measured effect by
    the numbers of its cells, in units of a typical effect's squared length.

    Args:
        kind: which of them.
        unit: vectors are first brought to length 1, so that directions alone count.
        as_given: vectors are taken as they are, neither centred nor scaled.
        source: which one of several joined tables is looked at; None: all alike.
        shrunk: of measured effects what is surely there, or plain differences of means.
        neighbours: k of `nearest`; noise: variance of what vectors cannot tell, effects having 1;
        reach: of the kernel; intercept: whether effects scatter around a mean of their own, or around no effect.
    """

    kind: Kind
    unit: bool = False
    shrunk: bool = False
    neighbours: int = 1
    noise: float = 1.0
    reach: float = 1.0
    intercept: bool = False
    source: int | None = None
    as_given: bool = False

    def __str__(self) -> str:
        vectors = "directions of the vectors" if self.unit else "vectors"
        vectors += "" if self.source is None else f" of table {self.source + 1}"
        around = "a mean of their own" if self.intercept else "no effect"
        match self.kind:
            case "none":
                return "no effect"
            case "mean":
                return "mean of all"
            case "nearest":
                return f"mean of the {self.neighbours} nearest, by {vectors}"
            case "ridge":
                return f"ridge regression on {vectors}, noise {self.noise:g}, around {around}"
            case _:
                return (
                    f"kernel ridge regression on {vectors}, reach {self.reach:g}, noise {self.noise:g}, around {around}"
                )


def candidates(kinds: Sequence[Kind] = KINDS, n_sources: int = 1) -> Iterator[Regression]:
    """What a choice is made from, of plain effects, simple ones first."""
    sources = [None, *range(n_sources)] if n_sources > 1 else [None]
    yield from (Regression(kind) for kind in ("none", "mean") if kind in kinds)
    for source, unit in product(sources, (True, False)):
        if "nearest" in kinds:
            yield from (Regression("nearest", unit, source=source, neighbours=k) for k in NEIGHBOURS)
        for intercept, noise in product((False, True), reversed(NOISE)):
            ridge = Regression("ridge", unit, source=source, noise=noise, intercept=intercept)
            if "ridge" in kinds:
                yield ridge
            if "kernel_ridge" in kinds:
                yield from (replace(ridge, kind="kernel_ridge", reach=reach) for reach in REACH)


class MeasuredVectors:
    """Vectors of R names that were measured, to compare others with.

    Of several joined tables all count alike, and a name that one of them lacks lies at the centre of the measured ones
    there, at which nothing tells it from any other.

    Args:
        table: has a vector for each of `names`.
        unit, source, as_given: see `Regression`.
    """

    def __init__(
        self,
        table: VectorTable,
        names: Sequence[str],
        unit: bool,
        source: int | None = None,
        *,
        as_given: bool = False,
    ) -> None:
        self._table, self._unit = table, unit
        self._parts = table.parts if source is None else [table.parts[source]]
        self._centres: list[Float64Array] = []
        self._scales: list[float] = []
        for part in self._parts:
            rows, known = self._read(names, part)
            if as_given:
                self._centres.append(np.zeros(rows.shape[1]))
                self._scales.append(1.0)
                continue
            centre = rows[known].mean(axis=0) if known.any() else np.zeros(rows.shape[1])
            spread, size = _length(rows[known] - centre), _length(rows[known])
            self._centres.append(centre)
            self._scales.append(1 / spread / math.sqrt(len(self._parts)) if spread > ROUNDING * size else 1.0)
        self.x = self.of(names)

    def of(self, names: Sequence[str]) -> Float64Array:
        """(n, F) vectors of other names."""
        columns = []
        for part, centre, scale in zip(self._parts, self._centres, self._scales, strict=True):
            rows, known = self._read(names, part)
            columns.append((rows - centre) * scale * known[:, None])
        placed: Float64Array = np.concatenate(columns, axis=1)
        return placed

    def _read(self, names: Sequence[str], part: slice) -> tuple[Float64Array, NDArray[np.bool_]]:
        x = self._table.of(names)[:, part].astype(np.float64)
        known = np.asarray(x.any(axis=1) | (len(self._table.parts) == 1))
        if self._unit:
            x /= np.linalg.norm(x, axis=1, keepdims=True).clip(np.finfo(np.float32).tiny)
        return x, known


def _length(rows: Float64Array) -> float:
    """Root mean square of the lengths of (n, F) vectors; 0 where there are none."""
    return math.sqrt(float(np.square(rows).sum(axis=1).mean())) if len(rows) else 0.0


class Weights:
    """A regression over what was measured.

    Args:
        regression: what is done.
        table: vectors of the measured names, and of those that will be asked for.
        measured: R names.
        v: (R,) variance of each one's effect, see `Regression`.
    """

    def __init__(
        self, regression: Regression, table: VectorTable, measured: Sequence[str], v: Sequence[float] | Float64Array
    ) -> None:
        self.regression, self.measured = regression, tuple(measured)
        self._vectors = MeasuredVectors(
            table, measured, regression.unit, regression.source, as_given=regression.as_given
        )
        self._solve: Callable[[Float64Array], Float64Array] = lambda k: k
        if regression.kind in ("ridge", "kernel_ridge"):
            factor = cho_factor(_noisy_kernel(regression, self._vectors.x, np.asarray(v)))
            self._solve = lambda k: np.asarray(cho_solve(factor, k.T)).T

    def of(self, names: Sequence[str]) -> Float64Array:
        """(n, R) weights in the effects of other names."""
        x, n = self._vectors.of(names), len(self.measured)
        match self.regression.kind:
            case "none":
                return np.zeros((len(names), n))
            case "mean":
                return np.full((len(names), n), 1 / n)
            case "nearest":
                return _nearest(cdist(x, self._vectors.x), self.regression.neighbours)
            case _:
                return self._solve(_kernel(self.regression, x, self._vectors.x))


def left_out_weights(regression: Regression, x: Float64Array, v: Float64Array) -> Float64Array:
    """(R, R) weights with which each measured effect is predicted from all others; 0 on the diagonal.

    For ridge in closed form: leaving row i out, (A^-1)_ij / -(A^-1)_ii with A the kernel plus noise.

    Args:
        x: (R, F) vectors, see `MeasuredVectors`; R > 1. v: (R,) as in `Weights`.

    Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 5.12.
    """
    n = len(x)
    match regression.kind:
        case "none":
            weights = np.zeros((n, n))
        case "mean":
            weights = np.full((n, n), 1 / (n - 1))
        case "nearest":
            distances = cdist(x, x)
            np.fill_diagonal(distances, np.inf)
            weights = _nearest(distances, min(regression.neighbours, n - 1))
        case _:
            inverse = np.linalg.inv(_noisy_kernel(regression, x, v))
            weights = -inverse / np.diag(inverse)[:, None]
    np.fill_diagonal(weights, 0)
    return weights


def _nearest(distances: Float64Array, k: int) -> Float64Array:
    """(n, R) 1 / k at the k smallest of each row, ties in the order of the columns."""
    k = min(k, distances.shape[1])
    weights = np.zeros_like(distances)
    np.put_along_axis(weights, np.argsort(distances, axis=1, kind="stable")[:, :k], 1 / k, axis=1)
    return weights


def _kernel(regression: Regression, x: Float64Array, y: Float64Array) -> Float64Array:
    linear = regression.kind == "ridge"
    k = x @ y.T if linear else np.exp(-cdist(x, y, "sqeuclidean") / (4 * regression.reach**2))
    return np.asarray(k + INTERCEPT_VARIANCE * regression.intercept)


def _noisy_kernel(regression: Regression, x: Float64Array, v: Float64Array) -> Float64Array:
    return _kernel(regression, x, x) + np.diag(regression.noise + v)
