"""From measured effects to those that predict best: shrunk by how surely they were measured."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

WIDTHS = np.concatenate([[0.0], np.geomspace(0.02, 4.0, 14)])
"""Standard deviations of the mixture's members, natural logarithm: none, and from 2 % to beyond any knock-out."""
ALIKE = (0.8, 1.0)
"""How effects of a perturbation on a gene correlate between contexts where they do: well, or as one."""
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
    shrunk: Float64Array = shrink_over_contexts(d[None], variance[None])[0]
    return shrunk


def shrink_over_contexts(d: Float64Array, variance: Float64Array) -> Float64Array:
    """The same for one perturbation in C contexts, whose effects on a gene may be alike.

        (effect_1g, ..., effect_Cg) ~ sum_jk pi_jk N(0, width_j² U_k)

    U_k is rho 1 1ᵀ + (1 - rho) I for rho 0 and each of `ALIKE`, or has a 1 for a single context and 0 elsewhere. That a
    gene moves in one context says that it may in others (rho 0), and in the same direction (rho 0.8 or 1), as far as
    the measurements of all genes bear that out.

    Args:
        d, variance: (C, G), natural logarithms; the noise of contexts is independent.

    Source: Urbut et al. 2019, Nat. Genet. 51, methods; covariances like those of Flutre et al. 2013, PLoS Genet. 9.
    """
    noise, members = np.maximum(variance, SMALLEST_VARIANCE), _members(len(d))
    likelihood = np.empty((d.shape[1], len(members)))
    for column, member in enumerate(members):
        likelihood[:, column] = _given(d, noise, *member).log_likelihood
    likelihood -= likelihood.max(axis=1, keepdims=True)
    np.exp(likelihood, out=likelihood)
    pi = np.full(len(members), 1 / len(members))
    null = np.zeros(len(members))
    null[0] = NULL_WEIGHT
    for _ in range(MOST_ITERATIONS):
        belongs = pi * likelihood
        belongs /= belongs.sum(axis=1, keepdims=True)
        before, pi = pi, belongs.sum(axis=0) + null
        pi /= pi.sum()
        if np.abs(pi - before).max() < SETTLED:
            break
    shrunk = np.zeros_like(d)
    for of_genes, member in zip(belongs.T, members, strict=True):
        shrunk += of_genes * _given(d, noise, *member).mean
    return shrunk


def _members(n_contexts: int) -> list[tuple[float, Float64Array]]:
    """Variance of what contexts share, and (C, 1) of what each has of its own, for every member of the mixture."""
    each = np.ones((n_contexts, 1))
    squares = WIDTHS[1:] ** 2
    none, apart = (0.0, 0 * each), [(0.0, square * each) for square in squares]
    if n_contexts == 1:
        return [none, *apart]
    alike = [(rho * square, (1 - rho) * square * each) for rho in ALIKE for square in squares]
    alone = [(0.0, square * one[:, None]) for one in np.eye(n_contexts) for square in squares]
    return [none, *apart, *alike, *alone]


class _Given(NamedTuple):
    """A member of the mixture: (G,) how well it explains the measurements, and (C, G) means of the effects."""

    log_likelihood: Float64Array
    mean: Float64Array


def _given(d: Float64Array, noise: Float64Array, shared: float, own: Float64Array) -> _Given:
    """By the Sherman-Morrison formula, as covariances are diagonal but for what contexts share."""
    total = noise + own
    precision = (1 / total).sum(axis=0)
    # The mean of what is shared, given the measurements.
    common = shared * (d / total).sum(axis=0) / (1 + shared * precision)
    rest = (d - common) / total
    log_likelihood = -(np.log(total).sum(axis=0) + np.log1p(shared * precision) + (d * rest).sum(axis=0)) / 2
    return _Given(log_likelihood, common + own * rest)
