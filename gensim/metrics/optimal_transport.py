"""Transport distances between populations, on as many cells of each as their time allows.

POT takes a second to be imported, and few evaluations ask for it; so it is imported where it is called.
"""

import numpy as np

from gensim.errors import NotComputable, TrainingError
from gensim.metrics.comparison import Comparison
from gensim.seeding import derive, numpy_generator
from gensim.types import FloatArray

MOST_CELLS = 500
"""Of each population, for distances whose time grows with the cube or the square of the number."""
PROJECTIONS = 200
REG_SHARE = 0.1
"""Regularisation as a share of the median squared distance of the real cells."""


def wasserstein_pca(comparison: Comparison, order: int) -> float:
    """Exact W_1 or W_2 in PCA space, of at most 500 cells of each population, drawn without replacement by seed.

    Samples of one population are apart, the more so the fewer and in more dimensions; the replicate shows how much.
    """
    from gensim.ot import wasserstein

    return wasserstein.wasserstein(*_drawn(comparison), order)


def sinkhorn_divergence_pca(comparison: Comparison) -> float:
    """Sinkhorn divergence in PCA space of the same cells, reg 0.1 of the median squared distance of the real ones.

    Raises:
        NotComputable: the real cells have no such distance, or the iteration does not end.
    """
    if not comparison.sigma2:
        raise NotComputable("the real cells have no median distance above 0 that would scale the regularisation")
    from gensim.ot import wasserstein

    try:
        return wasserstein.sinkhorn_divergence(*_drawn(comparison), REG_SHARE * comparison.sigma2)
    except TrainingError as error:
        raise NotComputable(f"the entropic plan was not found: {error}") from error


def sliced_wasserstein1_pca(comparison: Comparison) -> float:
    """Sliced W_1 in PCA space of all cells, mean over 200 directions drawn by seed."""
    from gensim.ot import wasserstein

    seed = derive(comparison.seed, "sliced Wasserstein") % 2**32
    return wasserstein.sliced_wasserstein1(comparison.real.scores, comparison.predicted.scores, PROJECTIONS, seed)


def _drawn(comparison: Comparison) -> tuple[FloatArray, FloatArray]:
    generator = numpy_generator(comparison.seed, "transport draws")
    real, predicted = (
        side.scores[np.sort(generator.choice(len(side.scores), min(len(side.scores), MOST_CELLS), replace=False))]
        for side in (comparison.real, comparison.predicted)
    )
    return real, predicted
