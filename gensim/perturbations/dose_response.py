"""What measured doses tell of others, effects being 0 at dose 0."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

POWERS = (1.0, 2.0)
ALL_DOSES = 1e3
"""A reach beyond any doses' distance."""
REACHES = (ALL_DOSES, 2.0, 0.7)
HALVES_PER_DECADE = 4
BEYOND = 4.0
"""How far below the lowest and above the highest dose a half dose is looked for, as a factor."""
FEWEST_DOSES = 3
NUGGET = 0.01
"""Variance of what doses cannot tell, in units of a full effect's squared length."""


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """Effects at other doses as a Gaussian process over the dose that is 0 at dose 0.

        effect(d) = h(d) f(log d),    h(d) = d^power / (half^power + d^power)
        k(d, d') = h(d) h(d') exp(-(log d - log d')² / (2 reach²))

    so that with a reach beyond all doses tell of one direction, more or less of it.

    Args:
        half: dose of half the effect, in the screen's unit. power: Hill coefficient.
        reach: in log dose, within which the direction of the effect is the same.

    Source: Hill 1910, J. Physiol. 40; Rasmussen & Williams 2006, eq. 2.25.
    """

    half: float
    power: float
    reach: float

    def share(self, dose: Float64Array) -> Float64Array:
        """h, of any doses."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(1 / (1 + (self.half / np.asarray(dose)) ** self.power))

    def weights(self, measured: Float64Array, v: Float64Array, dose: float) -> Float64Array:
        """(n,) of the plain effects at n measured doses above 0, with variances v (see `Regression`), at another."""
        if dose == 0:
            return np.zeros(len(measured))
        noisy = self._kernel(measured, measured) + np.diag(v + NUGGET)
        return np.asarray(np.linalg.solve(noisy, self._kernel(measured, np.array([dose]))[:, 0]))

    def _kernel(self, doses: Float64Array, others: Float64Array) -> Float64Array:
        apart = np.log(doses)[:, None] - np.log(others)
        return np.asarray(np.outer(self.share(doses), self.share(others)) * np.exp(-(apart**2) / 2 / self.reach**2))

    def __str__(self) -> str:
        return f"half of the effect at {self.half:.3g}, Hill coefficient {self.power:g}, reach {self.reach:g}"


class MeasuredDoses(NamedTuple):
    """Of the same perturbations in the same context.

    Args:
        doses: (n,) ascending, above 0.
        effects: (n, F) plain effects.
        v: (n,) variances (see `Regression`), by which errors count in proportion to 1 / (1 + v).
        shared: squared length of the error that all of them have of the same control cells.
    """

    doses: Float64Array
    effects: Float64Array
    v: Float64Array
    shared: float = 0.0


def choose_dose_response(groups: Sequence[MeasuredDoses]) -> DoseResponse:
    """The response that predicts best every dose of a group from the other doses of it.

    Groups of fewer than three doses tell nothing; without any other, half of the effect is at the geometric mean of the
    doses.
    """
    doses = np.concatenate([group.doses for group in groups])
    telling = [group for group in groups if len(group.doses) >= FEWEST_DOSES]
    if not telling:
        return DoseResponse(float(np.exp(np.log(doses).mean())), 1.0, ALL_DOSES)
    return min(_candidates(doses), key=lambda candidate: sum(_error(candidate, group) for group in telling))


def _candidates(doses: Float64Array) -> Iterator[DoseResponse]:
    low, high = np.log10(doses.min() / BEYOND), np.log10(doses.max() * BEYOND)
    halves = np.logspace(low, high, 1 + int(np.ceil((high - low) * HALVES_PER_DECADE)))
    yield from (DoseResponse(float(half), power, reach) for power, reach, half in product(POWERS, REACHES, halves))


def _error(response: DoseResponse, group: MeasuredDoses) -> float:
    """Weighed sum of |predicted - measured|² over the doses of a group, each left out, as it would be against control
    cells of its own (see `gensim.perturbations.choose_regression`)."""
    error = 0.0
    for i, dose in enumerate(group.doses.tolist()):
        others = np.delete(np.arange(len(group.doses)), i)
        weights = response.weights(group.doses[others], group.v[others], dose)
        squared = float(np.square(weights @ group.effects[others] - group.effects[i]).sum())
        error += (squared + 2 * float(weights.sum()) * group.shared) / (1 + group.v[i])
    return error


def groups_by_dose(keys: Sequence[tuple[object, float | None]]) -> list[list[int]]:
    """Rows of the same (perturbations, context), by ascending dose; those without a dose, or with dose 0, left out."""
    groups: dict[object, list[int]] = defaultdict(list)
    for k, (key, dose) in enumerate(keys):
        if dose:
            groups[key].append(k)
    return [sorted(rows, key=lambda k: keys[k][1] or 0.0) for rows in groups.values()]
