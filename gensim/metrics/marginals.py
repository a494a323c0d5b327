"""Spread and zeros of single genes, which a mean does not show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.types import FloatArray, blocks

DETECTED_SHARE = 0.02
FEWEST_DETECTING = 3
"""Cells in which a gene must not be 0, besides that share of them, before the ratio of its variances says anything."""
GENES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class GeneMarginals:
    """What single genes of a population look like.

    Args:
        n: cells.
        mean: (G,) in the unit of the cells.
        variance: (G,) unbiased; NaN for a single cell.
        detecting: (G,) cells whose value is not exactly 0.
    """

    n: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    detecting: NDArray[np.int64]

    @classmethod
    def of(cls, x: FloatArray) -> Self:
        """Of (n, G) cells, in float64, some genes at a time so that no second copy of the cells is made."""
        mean = np.asarray(x.mean(axis=0, dtype=np.float64))
        variance = np.full(x.shape[1], np.nan)
        if len(x) > 1:
            for genes in blocks(x.shape[1], GENES_AT_ONCE):
                variance[genes] = np.square(x[:, genes] - mean[genes]).sum(axis=0) / (len(x) - 1)
        return cls(len(x), mean, variance, np.count_nonzero(x, axis=0))


def variance_ratio(real: GeneMarginals, predicted: GeneMarginals) -> float:
    """median_g s²_g(predicted) / s²_g(real), unbiased variances, over the genes that the real cells measure.

    A gene counts that is not 0 in at least 2 % of the real cells, in no fewer than 3 of them, and varies there. The
    median of ratios of two samples of one population is 1 up to their noise; mean shifts of control cells keep the
    spread of the controls, and averages of cells have less than any of these.

    Raises:
        NotComputable: a population has fewer than two cells, or the real cells detect no gene.
    """
    for name, side in (("real", real), ("predicted", predicted)):
        if side.n < 2:
            raise NotComputable(f"the {name} population has {side.n} cell; a variance needs at least 2")
    fewest = max(FEWEST_DETECTING, DETECTED_SHARE * real.n)
    measured = (real.detecting >= fewest) & (real.variance > 0)
    if not measured.any():
        raise NotComputable(f"no gene varies and is detected in at least {fewest:g} of the {real.n} real cells")
    return float(np.median(predicted.variance[measured] / real.variance[measured]))


def zero_fraction_error(real: GeneMarginals, predicted: GeneMarginals) -> float:
    """mean_g |p_g(predicted) - p_g(real)| with p_g the share of cells in which gene g is exactly 0; between 0 and 1."""
    return float(np.abs(predicted.detecting / predicted.n - real.detecting / real.n).mean())


def moments(marginals: Mapping[str, GeneMarginals]) -> dict[str, tuple[FloatArray, FloatArray]]:
    """(G,) mean and variance per population; empty where one of them has a single cell."""
    if min(m.n for m in marginals.values()) < 2:
        return {}
    return {name: (m.mean.astype(np.float32), m.variance.astype(np.float32)) for name, m in marginals.items()}
