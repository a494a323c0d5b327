"""The share of a condition's cells in which its perturbation takes effect; the others look like control cells."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import gaussian_kde
from sklearn.covariance import ledoit_wolf

from gensim.perturbations.condition_file import load_by_condition, save_by_condition
from gensim.perturbations.measured import MeasuredConditions
from gensim.seeding import numpy_generator
from gensim.types import Condition, FloatArray, IntArray, blocks, spread

Float64Array = NDArray[np.float64]

SHARES = np.arange(4, 20) / 20
"""Penetrances below 1 that are compared: from 0.2, as effects are divided by them."""
LEAST_REACH = 8.0
"""Responders' distances from control cells are compared from 0 to this, or to the furthest cells."""
FEWEST_SHIFTS, MOST_SHIFTS, LARGEST_STEP = 81, 1000, 0.25
"""How many distances, and how far apart, as long as they are not too many."""
N_FOLDS = 5
FEWEST_CELLS, FEWEST_CONTROLS = 20, 100
"""Of a condition, and of its controls: fewer know no share."""
MOST_CELLS = 1000
"""Of a condition, for the likelihood; and of its controls, for their density."""
MOST_CONTROLS = 5000
"""For the covariance."""
DENSITY_POINTS = 401
SMALLEST_DENSITY = 1e-6
"""So that no single cell decides."""
MOST_NAMED = 10
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Penetrance:
    """Shares of responding cells as they were measured.

    Args:
        conditions: K perturbed conditions.
        share: (K,) float32, above 0, at most 1.
    """

    conditions: tuple[Condition, ...]
    share: FloatArray
    _measured: MeasuredConditions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_measured", MeasuredConditions(self.conditions))

    def with_others(self, others: "Penetrance") -> "Penetrance":
        """These, and those of others whose conditions are not among these."""
        known = set(self.conditions)
        new = [k for k, condition in enumerate(others.conditions) if condition not in known]
        conditions = (*self.conditions, *(others.conditions[k] for k in new))
        return Penetrance(conditions, np.concatenate([self.share, others.share[new]]))

    def of(self, condition: Condition) -> float:
        """Mean share of the nearest measured conditions with these perturbations; 1 where nothing is known."""
        rows = self._measured.like(condition)
        return float(self.share[rows].mean(dtype=np.float64)) if rows else 1.0

    def of_all(self, conditions: Sequence[Condition]) -> FloatArray:
        """(K',) float32 shares."""
        return np.array([self.of(condition) for condition in conditions], dtype=np.float32)

    def save(self, path: Path) -> None:
        save_by_condition(path, self.conditions, {"share": self.share})

    @classmethod
    def load(cls, path: Path) -> "Penetrance":
        conditions, arrays = load_by_condition(path)
        return cls(conditions, arrays["share"])


def response(responds: NDArray[np.bool_], share: FloatArray) -> FloatArray:
    """(n,) what each cell gets of the mean effect of its condition: 1 / share if it responds, else 0; 1 on average.

    Args:
        share: (n,) penetrance.
    """
    times: FloatArray = np.where(responds, 1 / share, 0).astype(np.float32)
    return times


def who_responds(penetrance: Penetrance) -> str:
    """In words."""
    some = [(s, c.label) for s, c in zip(penetrance.share.tolist(), penetrance.conditions, strict=True) if s < 1]
    if not some:
        return "penetrance: no condition shows cells that do not respond"
    least = ", ".join(f"{label} {share:.2f}" for share, label in sorted(some)[:MOST_NAMED])
    return f"penetrance: in {len(some)} of {len(penetrance.conditions)} conditions some cells do not respond: {least}"


ALL_RESPOND = Penetrance((), np.zeros(0, dtype=np.float32))


class Responders(NamedTuple):
    """(K,) penetrances, and (N,) float32 how likely each of the cells `rows` responded; 1 for all others."""

    penetrance: Penetrance
    probability: FloatArray
    rows: IntArray

    def drawn(self, condition_of: IntArray, conditions: Sequence[Condition], seed: int) -> FloatArray:
        """(N,) what every cell got of the mean effect, its responding drawn by its probability; 1 for other cells."""
        u = numpy_generator(seed, "responders").random(len(self.probability), dtype=np.float32)[self.rows]
        share = self.penetrance.of_all(conditions)[condition_of[self.rows]]
        got = np.ones(len(self.probability), dtype=np.float32)
        got[self.rows] = response(u < self.probability[self.rows], share)
        return got


def fit_penetrance(
    read: Callable[[IntArray], FloatArray], condition_of: IntArray, conditions: Sequence[Condition], rows: IntArray
) -> Responders:
    """Penetrances of the perturbed conditions among `rows`, each against the control cells of its context there.

    Cells are scored along the discriminant direction between a condition and its controls, each fifth of either as the
    other four fifths have it, and the scores of n perturbed cells are compared with what could be simulated from
    control cells,

        (1 - p) f(s) + p f(s - m),    f the density of the controls' scores,

    with m at its best for every p. The best p below 1 is taken if it makes the scores likelier than p = 1 by more than
    log n, natural logarithm.

    Args:
        read: rows to their (n, D) latents.
        condition_of: (N,) row of `conditions` for every cell.
        rows: the training cells.

    Source: the two components are those of mixscape (Papalexi et al. 2021, Nat. Genet. 53, methods).
    """
    present = {conditions[k]: rows[condition_of[rows] == k] for k in np.unique(condition_of[rows])}
    probability = np.ones(len(condition_of), dtype=np.float32)
    shares: dict[Condition, float] = {}
    for control in [condition for condition in present if condition.is_control]:
        enough = [c for c in present if c.control == control and not c.is_control and len(present[c]) >= FEWEST_CELLS]
        if enough and len(present[control]) >= FEWEST_CONTROLS:
            z = read(spread(present[control], MOST_CONTROLS))
            if not z.var(axis=0).any():
                continue
            folds = _Folds.of(z)
            for condition in enough:
                cells = present[condition]
                shares[condition], probability[cells] = _share(*folds.scores(read, cells))
    penetrance = Penetrance(tuple(shares), np.array(list(shares.values()), dtype=np.float32))
    for condition in present.keys() - shares.keys():
        probability[present[condition]] = penetrance.of(condition)
    return Responders(penetrance, probability, rows)


@dataclass(frozen=True, slots=True)
class _Folds:
    """The control cells of a context in five parts, (n, D), and for each part what the other four say.

    Args:
        means: (D,) of the others. factors: of the others' covariance, shrunk as by Ledoit & Wolf 2004.
    """

    parts: list[Float64Array]
    means: list[Float64Array]
    factors: list[tuple[Float64Array, bool]]

    @classmethod
    def of(cls, z: FloatArray) -> "_Folds":
        parts = [z[k::N_FOLDS].astype(np.float64) for k in range(N_FOLDS)]
        others = [np.concatenate(parts[:k] + parts[k + 1 :]) for k in range(N_FOLDS)]
        smallest = np.finfo(np.float64).tiny * np.eye(z.shape[1])
        factors = [cho_factor(ledoit_wolf(other)[0] + smallest) for other in others]
        return cls(parts, [other.mean(axis=0) for other in others], factors)

    def scores(self, read: Callable[[IntArray], FloatArray], cells: IntArray) -> tuple[Float64Array, Float64Array]:
        """(n,) scores of perturbed cells and (M,) of control cells, the latter with mean 0 and standard deviation 1."""
        fold = np.arange(len(cells)) % N_FOLDS
        total = np.zeros((N_FOLDS, len(self.means[0])))
        for block in blocks(len(cells), ROWS_AT_ONCE):
            z = read(cells[block])
            for k in range(N_FOLDS):
                total[k] += z[fold[block] == k].sum(axis=0, dtype=np.float64)
        directions = self._directions(total, fold)
        raw = [part @ w for part, w in zip(self.parts, directions, strict=True)]
        centre = np.array([scores.mean() for scores in raw])
        score = np.empty(len(cells))
        for block in blocks(len(cells), ROWS_AT_ONCE):
            along = read(cells[block]).astype(np.float64) @ np.stack(directions, axis=1) - centre
            score[block] = along[np.arange(len(along)), fold[block]]
        of_controls = np.concatenate([scores - mean for scores, mean in zip(raw, centre, strict=True)])
        scale = of_controls.std() or 1.0
        return score / scale, of_controls / scale

    def _directions(self, total: Float64Array, fold: IntArray) -> list[Float64Array]:
        """(D,) for every fold, from (5, D) sums of the perturbed cells in the folds; of variance 1 in the others."""
        directions = []
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            difference = (total.sum(axis=0) - total[k]) / (fold != k).sum() - mean
            w = cho_solve(factor, difference)
            # The variance along w is w' Sigma w, and Sigma w is the difference.
            directions.append(w / (math.sqrt(max(0.0, float(w @ difference))) or 1.0))
        return directions


def _share(score: Float64Array, of_controls: Float64Array) -> tuple[float, FloatArray]:
    """Share of the cells with (n,) scores that respond, and (n,) how likely each does."""
    all_respond = 1.0, np.ones(len(score), dtype=np.float32)
    some_controls = spread(of_controls, MOST_CELLS)
    if some_controls.std() == 0:
        return all_respond
    grid = np.linspace(some_controls.min() - 2, some_controls.max() + 2, DENSITY_POINTS)
    density = gaussian_kde(some_controls)(grid)

    def f(s: Float64Array) -> Float64Array:
        return np.asarray(np.interp(s, grid, density, left=0, right=0) + SMALLEST_DENSITY)

    # As many cells as controls at most: beyond, the density is less sure than the likelihood takes it for.
    judged = spread(score, min(MOST_CELLS, len(of_controls)))
    reach = max(LEAST_REACH, float(np.quantile(judged, 0.99)))
    shifts = np.linspace(0, reach, int(np.clip(math.ceil(reach / LARGEST_STEP), FEWEST_SHIFTS, MOST_SHIFTS)))
    still, moved = f(judged), f(judged[:, None] - shifts)
    log_likelihood = np.array([np.log(p * moved + ((1 - p) * still)[:, None]).sum(axis=0) for p in (*SHARES, 1.0)])
    i, j = np.unravel_index(log_likelihood[:-1].argmax(), (len(SHARES), len(shifts)))
    if log_likelihood[i, j] - log_likelihood[-1].max() <= np.log(len(judged)):
        return all_respond
    share = float(SHARES[i])
    # Cells beyond all controls are judged as the furthest ones would be.
    inside = score.clip(some_controls.min(), some_controls.max() + shifts[j])
    responds, escapes = share * f(inside - shifts[j]), (1 - share) * f(inside)
    return share, (responds / (responds + escapes)).astype(np.float32)
