"""The share of a condition's cells in which its perturbation takes effect; the others look like control cells."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import gaussian_kde

from gensim.perturbations.measured import MeasuredConditions
from gensim.seeding import numpy_generator
from gensim.types import Condition, FloatArray, IntArray, spread

Float64Array = NDArray[np.float64]

SHARES = np.arange(4, 20) / 20
"""Penetrances below 1 that are compared: from 0.2, as effects are divided by them."""
SHIFTS = np.linspace(0, 8, 81)
"""Distances of responders from control cells that are compared, standard deviations of the controls."""
N_FOLDS = 5
FEWEST_CELLS = 20
"""Of a condition, and of its controls: fewer know no share."""
MOST_CELLS = 1000
"""Of a condition, for the likelihood; and of its controls, for their density."""
MOST_CONTROLS_IN_COVARIANCE = 10_000
RIDGE = 0.05
"""Of the mean variance, added to the covariance of the control cells."""
GRID = np.linspace(-12, 20, 641)
"""Standard deviations of the controls' scores, where their density is known."""
MOST_NAMED = 10
SMALLEST_DENSITY = 1e-6
"""So that no single cell decides."""


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

    def of(self, condition: Condition) -> float:
        """Mean share of the nearest measured conditions with these perturbations; 1 where nothing is known."""
        rows = self._measured.like(condition)
        return float(self.share[rows].mean(dtype=np.float64)) if rows else 1.0

    def of_all(self, conditions: Sequence[Condition]) -> FloatArray:
        """(K',) float32 shares."""
        return np.array([self.of(condition) for condition in conditions], dtype=np.float32)

    def save(self, path: Path) -> None:
        keys = json.dumps([condition.key for condition in self.conditions])
        save_file({"share": self.share}, path, metadata={"conditions": keys})

    @classmethod
    def load(cls, path: Path) -> "Penetrance":
        with safe_open(path, framework="numpy") as file:
            keys = json.loads(file.metadata()["conditions"])
        return cls(tuple(Condition.from_key(key) for key in keys), load_file(path)["share"])


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
    """(K,) penetrances, and (N,) float32 how likely each cell responded: 1 where that is unknown."""

    penetrance: Penetrance
    probability: FloatArray

    def drawn(self, condition_of: IntArray, conditions: Sequence[Condition], seed: int) -> FloatArray:
        """(N,) response of every cell, its responding drawn by its probability."""
        u = numpy_generator(seed, "responders").random(len(self.probability), dtype=np.float32)
        share = self.penetrance.of_all(conditions)[condition_of]
        return response(u < self.probability, share)


def fit_penetrance(
    read: Callable[[IntArray], FloatArray], condition_of: IntArray, conditions: Sequence[Condition], rows: IntArray
) -> Responders:
    """Penetrances of the perturbed conditions among `rows`, each against the control cells of its context there.

    Cells are scored along the discriminant direction of their condition, as found without them, and the scores of n
    perturbed cells compared with what could be simulated from control cells,

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
    known, shares = [], []
    references: dict[Condition, _Reference] = {}
    for condition, cells in present.items():
        controls = present.get(condition.control, rows[:0])
        if condition.is_control or min(len(cells), len(controls)) < FEWEST_CELLS:
            continue
        if condition.control not in references:
            references[condition.control] = _Reference.of(read(spread(controls, MOST_CONTROLS_IN_COVARIANCE)))
        share, probability[cells] = _fit(read(cells).astype(np.float64), references[condition.control])
        known.append(condition)
        shares.append(share)
    return Responders(Penetrance(tuple(known), np.array(shares, dtype=np.float32)), probability)


@dataclass(frozen=True, slots=True)
class _Reference:
    """The control cells of a context: (n, D) less their mean, (D,) mean, and the factor of their covariance."""

    centred: Float64Array
    mean: Float64Array
    factor: tuple[Float64Array, bool]

    @classmethod
    def of(cls, z: FloatArray) -> "_Reference":
        mean = z.mean(axis=0, dtype=np.float64)
        centred = z - mean
        covariance = centred.T @ centred / (len(z) - 1)
        ridge = RIDGE * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny
        return cls(centred, mean, cho_factor(covariance + ridge * np.eye(len(covariance))))

    def direction(self, difference: Float64Array) -> Float64Array:
        """(D,) along which control cells have standard deviation 1; 0 where there is no difference."""
        w = cho_solve(self.factor, difference)
        spread = float((self.centred @ w).std())
        return np.asarray(w / spread if spread > 0 else np.zeros_like(w))


def _fit(z: Float64Array, controls: _Reference) -> tuple[float, FloatArray]:
    """Share of (n, D) cells that respond, and (n,) how likely each does."""
    z = z - controls.mean
    fold, total = np.arange(len(z)) % N_FOLDS, z.sum(axis=0)
    score, directions = np.empty(len(z)), []
    for k in range(N_FOLDS):
        here = fold == k
        w = controls.direction((total - z[here].sum(axis=0)) / (~here).sum())
        score[here] = z[here] @ w
        directions.append(w)
    scores_of_controls = spread(controls.centred, MOST_CELLS) @ np.mean(directions, axis=0)
    if scores_of_controls.std() == 0:
        return 1.0, np.ones(len(z), dtype=np.float32)
    density = gaussian_kde(scores_of_controls)(GRID)

    def f(s: Float64Array) -> Float64Array:
        return np.asarray(np.interp(s, GRID, density, left=0, right=0) + SMALLEST_DENSITY)

    judged = spread(score, MOST_CELLS)
    still, moved = f(judged), f(judged[:, None] - SHIFTS)
    log_likelihood = np.array([np.log(p * moved + ((1 - p) * still)[:, None]).sum(axis=0) for p in (*SHARES, 1.0)])
    i, j = np.unravel_index(log_likelihood[:-1].argmax(), (len(SHARES), len(SHIFTS)))
    if log_likelihood[i, j] - log_likelihood[-1].max() <= np.log(len(judged)):
        return 1.0, np.ones(len(z), dtype=np.float32)
    share = float(SHARES[i])
    responds, escapes = share * f(score - SHIFTS[j]), (1 - share) * f(score)
    return share, (responds / (responds + escapes)).astype(np.float32)
