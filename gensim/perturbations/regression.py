"""Weights of what was measured in the effect of something else, as their vectors are alike.

Names are of perturbations, or of contexts.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from gensim.perturbations.vectors import VectorTable

Float64Array = NDArray[np.float64]
Kind = Literal["mean", "nearest", "ridge", "kernel_ridge"]
KINDS: tuple[Kind, ...] = ("mean", "nearest", "ridge", "kernel_ridge")

NEIGHBOURS = (1, 2, 3, 5, 10, 20)
NOISE = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
REACH = (0.25, 0.5, 1.0, 2.0)
INTERCEPT_VARIANCE = 100.0
"""In units of the variance of effects: as good as free."""


@dataclass(frozen=True, slots=True)
class Regression:
    """How the effect of what was not measured follows from what was, as weights of the latter.

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

    def __str__(self) -> str:
        vectors = "directions of the vectors" if self.unit else "vectors"
        around = "a mean of their own" if self.intercept else "no effect"
        match self.kind:
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


def candidates(kinds: Sequence[Kind] = KINDS, shrunk: Sequence[bool] = (True, False)) -> Iterator[Regression]:
    """What a choice is made from, simple ones first."""
    if "mean" in kinds:
        yield from (Regression("mean", shrunk=s) for s in shrunk)
    for s, unit in product(shrunk, (True, False)):
        if "nearest" in kinds:
            yield from (Regression("nearest", unit, s, neighbours=k) for k in NEIGHBOURS)
        for intercept, noise in product((False, True), reversed(NOISE)):
            if "ridge" in kinds:
                yield Regression("ridge", unit, s, noise=noise, intercept=intercept)
            if "kernel_ridge" in kinds:
                for reach in REACH:
                    yield Regression("kernel_ridge", unit, s, noise=noise, reach=reach, intercept=intercept)


class MeasuredVectors:
    """Vectors of R names that were measured, to compare others with.

    Args:
        table: has a vector for each of `names`.
        unit: see `Regression`.
    """

    def __init__(self, table: VectorTable, names: Sequence[str], unit: bool) -> None:
        self._table, self._unit = table, unit
        rows = self._read(names)
        self._centre = rows.mean(axis=0)
        centred = rows - self._centre
        length = math.sqrt(float(np.square(centred).sum(axis=1).mean()))
        self._scale = 1 / length if length > 0 else 1.0
        self.x: Float64Array = centred * self._scale

    def of(self, names: Sequence[str]) -> Float64Array:
        """(n, F) vectors of other names."""
        placed: Float64Array = (self._read(names) - self._centre) * self._scale
        return placed

    def _read(self, names: Sequence[str]) -> Float64Array:
        x = self._table.of(names).astype(np.float64)
        if self._unit:
            x /= np.linalg.norm(x, axis=1, keepdims=True).clip(np.finfo(np.float32).tiny)
        return x


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
        self._vectors = MeasuredVectors(table, measured, regression.unit)
        self._solve: Callable[[Float64Array], Float64Array] = lambda k: k
        if regression.kind in ("ridge", "kernel_ridge"):
            factor = cho_factor(_noisy_kernel(regression, self._vectors.x, np.asarray(v)))
            self._solve = lambda k: np.asarray(cho_solve(factor, k.T)).T

    def of(self, names: Sequence[str]) -> Float64Array:
        """(n, R) weights in the effects of other names."""
        x, n = self._vectors.of(names), len(self.measured)
        match self.regression.kind:
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
