"""What was counted of every gene in every condition, and how sure that is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy import sparse

from gensim.types import Condition, FloatArray, IntArray

Float64Array = NDArray[np.float64]

PSEUDOCOUNT = 0.5
"""Added to the summed counts of a gene, so that one that was not seen has a logarithm."""
PRIOR_FREEDOM = 20
"""Cells' worth of belief that a condition's cells scatter as control cells do."""


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

    def of(self, condition: Condition) -> LogShares:
        k = self.conditions.index(condition)
        return LogShares(self.log_share[k], self.variance[k])

    def variance_of(self, condition: Condition) -> Float64Array:
        """(G,) variance of the logarithms of shares, steadied by that which as many control cells would have.

            (d_0 s_0² + d s²) / (d_0 + d),    d = n - 1

        Few cells do not know their own variance, and what few of them happen to agree on is not thereby sure.

        Source: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, section 4, with d_0 = 20 given.
        """
        k = self.conditions.index(condition)
        if condition.control not in self.conditions:
            return self.of(condition).variance
        c = self.conditions.index(condition.control)
        as_controls, freedom = self.variance[c] * self.n[c] / self.n[k], self.n[k] - 1
        steadied: Float64Array = (PRIOR_FREEDOM * as_controls + freedom * self.variance[k]) / (PRIOR_FREEDOM + freedom)
        return steadied

    def save(self, path: Path) -> None:
        keys = json.dumps([condition.key for condition in self.conditions])
        arrays = {"n": self.n, "log_share": self.log_share, "variance": self.variance}
        save_file(arrays, path, metadata={"conditions": keys})

    @classmethod
    def load(cls, path: Path) -> "ObservedShares":
        with safe_open(path, framework="numpy") as file:
            keys = json.loads(file.metadata()["conditions"])
        return cls(tuple(Condition.from_key(key) for key in keys), **load_file(path))


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
