"""Genes as down, unchanged or up in a condition."""

import numpy as np
from numpy.typing import NDArray

from gensim.errors import NotComputable
from gensim.metrics.false_discovery import benjamini_hochberg
from gensim.metrics.marginals import GeneMarginals

FALSE_DISCOVERY_RATE = 0.05
FEWEST_CELLS = 31


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
    from scipy.stats import ttest_ind_from_stats

    if cells.n < FEWEST_CELLS or controls.n < 2:
        raise NotComputable(
            f"{cells.n} cells against {controls.n} control cells; classes of genes need {FEWEST_CELLS} against 2"
        )
    sides = [(side.mean, np.sqrt(side.variance), side.n) for side in (cells, controls)]
    with np.errstate(divide="ignore", invalid="ignore"):
        t, p = ttest_ind_from_stats(*sides[0], *sides[1], equal_var=False)
    constant = np.isnan(t)
    found = benjamini_hochberg(np.where(constant, 1.0, p)) < FALSE_DISCOVERY_RATE
    return np.where(found & ~constant, np.sign(t), 0.0)
