"""What was counted of every gene in every condition, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.perturbations.condition_file import load_by_condition, save_by_condition
from gensim.perturbations.mean_effects import MeanEffects, measured_effects
from gensim.perturbations.shrinkage import shrink_each, steadied
from gensim.types import Condition, FloatArray, IntArray

Float64Array = NDArray[np.float64]

PSEUDOCOUNT = 0.5
"""Added to the summed counts of a gene, so that one that was not seen has a logarithm."""


class LogShares(NamedTuple):
    """(G,) natural logarithm of the share of all counts that each gene has in n cells together, and its variance."""

    log_share: Float64Array
    variance: Float64Array


def log_shares(counts: sparse.csr_matrix, library_size: FloatArray) -> LogShares:
    """Of (n, G) counts, as a ratio of sums over cells.

    The variance is that of a ratio estimator (Cochran 1977, equation 2.39), and not below that of counting (Poisson).
    """
    n, x, sizes = counts.shape[0], counts.astype(np.float64), library_size.astype(np.float64)
    total = sizes.sum()
    summed = np.asarray(x.sum(axis=0)).ravel()
    share = summed / total
    squares = np.asarray(x.multiply(x).sum(axis=0)).ravel() - 2 * share * (sizes @ x) + share**2 * (sizes @ sizes)
    smoothed = summed + PSEUDOCOUNT
    variance = squares * n / max(1, n - 1) / smoothed**2
    return LogShares(np.log(smoothed / total), np.maximum(variance, 1 / smoothed))


@dataclass(frozen=True, slots=True)
class ObservedShares:
    """What was counted in every condition that is not held out.

    Args:
        conditions: K conditions, controls among them.
        n: (K,) cells of each.
        log_share, variance: (K, G) float64, see `LogShares`.
    """

    conditions: tuple[Condition, ...]
    n: IntArray
    log_share: Float64Array
    variance: Float64Array
    _row: dict[Condition, int] = field(init=False, repr=False, compare=False)
    _alike: dict[Condition, tuple[Condition, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row", {condition: k for k, condition in enumerate(self.conditions)})
        alike: dict[Condition, list[Condition]] = {}
        for condition in self.conditions:
            if not condition.is_control and condition.control in self._row:
                alike.setdefault(condition.in_any_context, []).append(condition)
        object.__setattr__(self, "_alike", {of: tuple(found) for of, found in alike.items()})

    def __contains__(self, condition: Condition) -> bool:
        return condition in self._row

    def of(self, condition: Condition) -> LogShares:
        k = self._row[condition]
        return LogShares(self.log_share[k], self.variance[k])

    def in_every_context(self, condition: Condition) -> tuple[Condition, ...]:
        """Those with the perturbations, dose and time of a counted `condition` that tell of it, itself among them.

        Contexts without counted controls tell of themselves alone, as nothing steadies their variances; so do controls.
        """
        alike = self._alike.get(condition.in_any_context, ())
        return alike if condition in alike else (condition,)

    def variance_of(self, condition: Condition) -> Float64Array:
        """(G,) variance of the logarithms of shares, steadied by that of the controls (see `steadied`)."""
        own, control = self.of(condition), condition.control
        if control not in self._row:
            return own.variance
        k, c = self._row[condition], self._row[control]
        return steadied(own.variance, int(self.n[k]), self.variance[c], int(self.n[c]))

    def variance_of_effect(self, condition: Condition) -> Float64Array:
        """(G,) variance of the difference from the controls, which were counted too."""
        return self.variance_of(condition) + self.of(condition.control).variance

    def effects(self) -> MeanEffects:
        """Of the perturbed conditions on the logarithms of shares, shrunk gene by gene, where controls were counted."""
        perturbed = tuple(c for c in self.conditions if not c.is_control and c.control in self)
        plain = [self.of(c).log_share - self.of(c.control).log_share for c in perturbed]
        own, of_controls = [self.variance_of(c) for c in perturbed], [self.of(c.control).variance for c in perturbed]
        shape = (len(perturbed), self.log_share.shape[1])
        noise = np.reshape(own, shape), np.reshape(of_controls, shape)
        return measured_effects(perturbed, np.reshape(plain, shape), *noise, shrink_each)

    def save(self, path: Path) -> None:
        arrays = {"n": self.n, "log_share": self.log_share, "variance": self.variance}
        save_by_condition(path, self.conditions, arrays)

    @classmethod
    def load(cls, path: Path) -> "ObservedShares":
        conditions, arrays = load_by_condition(path)
        return cls(conditions, **arrays)


def observe_shares(
    counts: sparse.csr_matrix,
    library_size: FloatArray,
    condition_of: IntArray,
    conditions: Sequence[Condition],
    rows: IntArray,
) -> ObservedShares:
    """Shares of the genes in every condition that has cells among `rows`.

    Args:
        counts: (N, G) of all cells. library_size: (N,). condition_of: (N,) row of `conditions`.
    """
    present = np.unique(condition_of[rows])
    cells = [rows[condition_of[rows] == k] for k in present]
    found = [log_shares(counts[here], library_size[here]) for here in cells]
    return ObservedShares(
        tuple(conditions[k] for k in present),
        np.array([len(here) for here in cells], dtype=np.int64),
        np.stack([f.log_share for f in found]),
        np.stack([f.variance for f in found]),
    )
