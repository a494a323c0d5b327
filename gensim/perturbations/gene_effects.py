"""Effects on single genes as factors of their counts: measured, and shrunk by how surely they were measured."""

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
WIDTHS = np.concatenate([[0.0], np.geomspace(0.02, 4.0, 14)])
"""Standard deviations of the mixture's members, natural logarithm: none, and from 2 % to beyond any knock-out."""
NULL_WEIGHT = 10.0
"""Genes' worth of belief in no effect, a penalty as in Stephens 2017, section 2.2."""
ITERATIONS = 200


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


def shrink_adaptively(d: Float64Array, variance: Float64Array) -> Float64Array:
    """Posterior means of effects that were measured as `d` with known variances.

        d_g ~ N(effect_g, variance_g),    effect_g ~ sum_j pi_j N(0, width_j²)

    The weights pi are those that make the measurements most likely (expectation-maximisation), so that where nothing
    happens all is shrunk to 0, and what stands out among the genes is kept.

    Args:
        d, variance: (G,) of one condition; variances above 0.

    Source: Stephens 2017, False discovery rates: a new deal, Biostatistics 18, equations 2.1 to 2.6.
    """
    total = variance[:, None] + WIDTHS**2
    log_likelihood = -(np.log(total) + d[:, None] ** 2 / total) / 2
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    pi = np.full(len(WIDTHS), 1 / len(WIDTHS))
    null = np.zeros(len(WIDTHS))
    null[0] = NULL_WEIGHT
    for _ in range(ITERATIONS):
        member = pi * likelihood
        member /= member.sum(axis=1, keepdims=True)
        pi = member.sum(axis=0) + null
        pi /= pi.sum()
    kept = (member * (WIDTHS**2 / total)).sum(axis=1)
    return np.asarray(kept * d)


@dataclass(frozen=True, slots=True)
class ObservedShares:
    """What was counted in every condition that is not held out.

    Args:
        conditions: K conditions, controls among them.
        log_share, variance: (K, G) float64, see `LogShares`.
    """

    conditions: tuple[Condition, ...]
    log_share: Float64Array
    variance: Float64Array

    def of(self, condition: Condition) -> LogShares:
        k = self.conditions.index(condition)
        return LogShares(self.log_share[k], self.variance[k])

    def save(self, path: Path) -> None:
        keys = json.dumps([condition.key for condition in self.conditions])
        save_file({"log_share": self.log_share, "variance": self.variance}, path, metadata={"conditions": keys})

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
    found = [log_shares(counts[here], library_size[here]) for k in present for here in [rows[condition_of[rows] == k]]]
    return ObservedShares(
        tuple(conditions[k] for k in present),
        np.stack([f.log_share for f in found]),
        np.stack([f.variance for f in found]),
    )
