"""From measured effects to those that predict best: shrunk by how surely they were measured."""

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

WIDTHS = np.concatenate([[0.0], np.geomspace(0.02, 4.0, 14)])
"""Standard deviations of the mixture's members, natural logarithm: none, and from 2 % to beyond any knock-out."""
NULL_WEIGHT = 10.0
"""Genes' worth of belief in no effect, a penalty as in Stephens 2017, section 2.2."""
MOST_ITERATIONS = 500
SETTLED = 1e-4
"""Largest change of a weight in an iteration that ends the search."""
SMALLEST_VARIANCE = 1e-12
"""Genes that are constant on both sides have none."""
PRIOR_FREEDOM = 20
"""Cells' worth of belief that a condition's cells scatter as control cells do."""


def steadied(variance: Float64Array, n: int, of_controls: Float64Array, n_controls: int) -> Float64Array:
    """Variance of the mean of n cells, steadied by that which as many control cells would have.

        (d_0 s_0² + d s²) / (d_0 + d),    d = n - 1

    Few cells do not know their own variance, and what few of them happen to agree on is not thereby sure.

    Args:
        variance: (F,) of the mean of n cells, by their own spread. of_controls: (F,) of the mean of the controls.

    Source: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, section 4, with d_0 = 20 given.
    """
    as_controls, freedom = of_controls * n_controls / n, n - 1
    return np.asarray((PRIOR_FREEDOM * as_controls + freedom * variance) / (PRIOR_FREEDOM + freedom))


def shrink_together(d: Float64Array, variance: Float64Array) -> Float64Array:
    """All features by one factor, the positive-part James-Stein factor: what is no larger than its noise becomes 0.

        max(0, 1 - sum(variance) / |d|²) d

    Args:
        d: (F,) measured effects, each one's expectation plus noise. variance: (F,) of the noise.

    Source: James & Stein 1961, Proc. 4th Berkeley Symp. Math. Stat. Prob. 1.
    """
    size = float(d @ d)
    return d * (max(0.0, 1 - float(variance.sum()) / size) if size > 0 else 0.0)


def shrink_each(d: Float64Array, variance: Float64Array) -> Float64Array:
    """Posterior means of effects that were measured as `d` with known variances.

        d_g ~ N(effect_g, variance_g),    effect_g ~ sum_j pi_j N(0, width_j²)

    The weights pi are those that make the measurements most likely (expectation-maximisation), so that where nothing
    happens all is shrunk to 0, and what stands out among the genes is kept.

    Args:
        d, variance: (G,) of one condition, natural logarithms.

    Source: Stephens 2017, False discovery rates: a new deal, Biostatistics 18, equations 2.1 to 2.6.
    """
    total = np.maximum(variance, SMALLEST_VARIANCE)[:, None] + WIDTHS**2
    log_likelihood = -(np.log(total) + d[:, None] ** 2 / total) / 2
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    pi = np.full(len(WIDTHS), 1 / len(WIDTHS))
    null = np.zeros(len(WIDTHS))
    null[0] = NULL_WEIGHT
    for _ in range(MOST_ITERATIONS):
        member = pi * likelihood
        member /= member.sum(axis=1, keepdims=True)
        before, pi = pi, member.sum(axis=0) + null
        pi /= pi.sum()
        if np.abs(pi - before).max() < SETTLED:
            break
    kept = (member * (WIDTHS**2 / total)).sum(axis=1)
    return np.asarray(kept * d)
