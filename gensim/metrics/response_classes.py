"""Genes as down, unchanged or up in a condition."""

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.false_discovery import benjamini_hochberg
from gensim.metrics.marginals import GeneMarginals

FALSE_DISCOVERY_RATE = 0.05
FEWEST_CELLS = 31
Moments = tuple[NDArray[np.float64], NDArray[np.float64], int | NDArray[np.float64]]
"""(..., G) mean, (..., G) unbiased variance, and the number of cells, of all or (..., 1)."""


def response_classes(cells: GeneMarginals, controls: GeneMarginals) -> NDArray[np.float64]:
    """(G,) -1, 0 or 1: the sign of the change of genes that a t-test with Benjamini-Hochberg 0.05 finds, else 0.

    Welch's t-test of log1p CP10k, as `scanpy.tl.rank_genes_groups` with `method="t-test"`.

    Args:
        cells: of a condition.
        controls: of the control cells.

    Raises:
        NotComputable: no more than 30 cells of the condition, or fewer than two control cells.

    Source: Cole et al. 2026.
    """
    require_cells(cells.n, controls.n)
    return classes_of_moments((cells.mean, cells.variance, cells.n), (controls.mean, controls.variance, controls.n))


def require_cells(n: int, n_controls: int) -> None:
    """Raise `NotComputable` for no more than 30 cells of a condition, or fewer than two control cells."""
    if n < FEWEST_CELLS or n_controls < 2:
        raise NotComputable(
            f"{n} cells against {n_controls} control cells; classes of genes need {FEWEST_CELLS} against 2"
        )


def classes_of_moments(cells: Moments, controls: Moments) -> NDArray[np.float64]:
    """(..., G) classes as in `response_classes`, false discoveries being among the G genes of a row."""
    from scipy.stats import ttest_ind_from_stats

    sides = [(mean, np.sqrt(variance), n) for mean, variance, n in (cells, controls)]
    with np.errstate(divide="ignore", invalid="ignore"):
        t, p = ttest_ind_from_stats(*sides[0], *sides[1], equal_var=False)
    constant = np.isnan(t)
    rates = np.apply_along_axis(benjamini_hochberg, -1, np.where(constant, 1.0, p))
    return np.where((rates < FALSE_DISCOVERY_RATE) & ~constant, np.sign(t), 0.0)
