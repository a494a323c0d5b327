"""Whether predicted cells lie where real cells do, and the other way round, by nearest neighbours.

B_i is the ball around cell i up to its k-th nearest other cell of its own population, k = 5.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from gensim.errors import NotComputable
from gensim.types import FloatArray

NEIGHBOURS = 5


def precision(real: FloatArray, predicted: FloatArray) -> float:
    """Share of the (M, D) predicted cells that lie in the ball of any of the (N, D) real cells.

    Raises:
        NotComputable: no more than k real cells.

    Source: Kynkäänniemi et al., Improved precision and recall, NeurIPS 2019, eq. 2.
    """
    return float(_in_balls(real, predicted).any(axis=0).mean())


def recall(real: FloatArray, predicted: FloatArray) -> float:
    """Share of the real cells that lie in the ball of any predicted cell: `precision` with the sides exchanged."""
    return precision(predicted, real)


def density(real: FloatArray, predicted: FloatArray) -> float:
    """Mean number of real balls that a predicted cell lies in, divided by k; 1 on average for the same population.

    Source: Naeem et al., Reliable fidelity and diversity metrics, ICML 2020, eq. 3.
    """
    return float(_in_balls(real, predicted).sum(axis=0).mean() / NEIGHBOURS)


def coverage(real: FloatArray, predicted: FloatArray) -> float:
    """Share of the real balls that hold a predicted cell; 1 - 2^-k on average for as many cells of the same population.

    Source: Naeem et al. 2020, eq. 4.
    """
    return float(_in_balls(real, predicted).any(axis=1).mean())


def _in_balls(centres: FloatArray, cells: FloatArray) -> NDArray[np.bool_]:
    """(N, M) whether each of M cells lies in the ball of each of N centres."""
    if len(centres) <= NEIGHBOURS:
        raise NotComputable(f"{len(centres)} cells; a distance to the {NEIGHBOURS}th other one needs more than that")
    # The smallest distance of each row is that of the cell to itself.
    radius = np.partition(cdist(centres, centres), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    return np.asarray(cdist(centres, cells) <= radius[:, None])
