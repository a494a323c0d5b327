"""Intervals around predicted effects that the errors in other conditions give: as wide as holds 0.9 of those."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable

NINE_TENTHS = (9, 10)
"""Stated coverage as a ratio of whole numbers, so that ranks are exact."""
COVERAGE = NINE_TENTHS[0] / NINE_TENTHS[1]
FEWEST = 10
"""Conditions K: the rank ceil(0.9 K) has to be among the errors of the K - 1 others."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Conformal:
    """Split conformal intervals hat delta_kg +- q_kg, calibrated for each condition k on all others.

    q_kg is the r-th smallest of the n = K - 1 errors e_jg = |delta_jg - hat delta_jg| of gene g in the other conditions
    j, with r = ceil(0.9 (n + 1)). All are had from two order statistics of the K errors: without its own, the r-th
    smallest is the r-th of all where the own error is larger than that, and the (r + 1)-th where it is not.

    Guarantee: where the K conditions are exchangeable, and the prediction was made without any of them, the measured
    effect of a gene lies within with probability 0.9 or more, over conditions. Genes are not independent, so the share
    of the genes of one condition may be anything. Over the K conditions exactly r effects of each gene lie within (more
    where errors are equal), whatever was predicted: it is the width that tells predictions apart, and the share of a
    condition that tells which are harder than others. The measured effects are those of a sample of cells, whose noise
    is in the width.

    Args:
        errors: (K, G), log1p CP10k. lower, upper: (G,) r-th and (r + 1)-th smallest of the K errors of a gene.
        missed: (G,) whether any condition has an error.

    Source: Vovk, Gammerman & Shafer 2005, Algorithmic learning in a random world; Lei et al. 2018, JASA 113, section
    2.2 (split conformal), with each condition held out in turn.
    """

    errors: Vector
    lower: Vector
    upper: Vector
    missed: NDArray[np.bool_]

    @classmethod
    def of(cls, real: Vector, predicted: Vector) -> "Conformal":
        """From (K, G) measured and predicted effects.

        Raises:
            NotComputable: fewer than 10 conditions.
        """
        n_conditions = len(real)
        if n_conditions < FEWEST:
            raise NotComputable(
                f"{n_conditions} conditions to calibrate by, of one context and all seen or all unseen; intervals of "
                f"coverage {COVERAGE:g} need at least {FEWEST}"
            )
        errors = np.abs(real - predicted)
        of, whole = NINE_TENTHS
        rank = -(-of * n_conditions // whole)
        lower, upper = np.partition(errors, (rank - 1, rank), axis=0)[[rank - 1, rank]]
        return cls(errors, lower, upper, errors.max(axis=0) > 0)

    def half_widths(self, k: int) -> Vector:
        """(G,) q_kg."""
        return np.where(self.errors[k] > self.lower, self.lower, self.upper)

    def width(self, k: int) -> float:
        """mean_g q_kg, log1p CP10k."""
        return float(self.half_widths(k).mean())

    def coverage(self, k: int) -> float:
        """Share of genes whose measured effect lies within; of those that are missed in any condition at all, since a
        gene that nothing expresses is predicted by anybody.

        Raises:
            NotComputable: no gene is missed in any condition.
        """
        if not self.missed.any():
            raise NotComputable("all effects are predicted without an error, so there is nothing to calibrate by")
        return float((self.errors[k] <= self.half_widths(k))[self.missed].mean())
