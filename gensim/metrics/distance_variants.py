"""Other estimates of energy distance and MMD that publications report under the same names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gensim.errors import NotComputable
from gensim.metrics.pairs import DISTANCE, GaussianKernels, PairFunction, Sample, load

if TYPE_CHECKING:
    import torch

CELLOT_GAMMAS = (2.0, 1.0, 0.5, 0.1, 0.01, 0.005)


def energy_biased(x: Sample, y: Sample) -> float:
    """E = 2 mean d(x_i, y_j) - mean d(x_i, x_j) - mean d(y_i, y_j), every cell paired with itself as well; d Euclidean.

    Args:
        x: (N, D) cells.
        y: (M, D) other cells.

    Returns:
        In the unit of the cells, never below 0, and above 0 on average where the populations are the same.

    Source: Székely and Rizzo 2013, J. Stat. Plan. Inference 143, eq. 6.1 (V-statistic); `edistance` of pertpy 1.0.
    """
    return 2 * x.between(y, DISTANCE) - _own(x, DISTANCE, 0.0) - _own(y, DISTANCE, 0.0)


def energy_sqrt(x: Sample, y: Sample) -> float:
    """The square root of `energy_biased`, a metric on distributions."""
    return math.sqrt(max(0.0, energy_biased(x, y)))


def energy_squared_biased(x: Sample, y: Sample) -> float:
    """`energy_biased` with squared distances, which is 2 ||mean x - mean y||^2: it sees means only.

    Returns:
        In the squared unit of the cells.

    Source: Klein et al., CellFlow (2025), and `edist` of scPerturb without `sample_correct`.
    """
    return 2 * float((_moments(x)[0] - _moments(y)[0]).square().sum())


def energy_squared(x: Sample, y: Sample) -> float:
    """The same with within-terms over pairs of different cells: 2 ||mean x - mean y||^2 - 2 tr S_x / N - 2 tr S_y / M.

    S is the unbiased covariance, so it is 0 on average where the means are the same.

    Raises:
        NotComputable: a population has fewer than two cells.

    Source: Peidli et al., scPerturb, Nature Methods 21 (2024), E-distance with `sample_correct`.
    """
    for name, sample in (("first", x), ("second", y)):
        if len(sample) < 2:
            raise NotComputable(f"the {name} population has {len(sample)} cell; distances within it need at least 2")
    return energy_squared_biased(x, y) - 2 * sum(_moments(sample)[1] / len(sample) for sample in (x, y))


def mmd2_cellot(x: Sample, y: Sample) -> float:
    """MMD^2 with every cell paired with itself as well, averaged over k = exp(-gamma ||a - b||^2) of six fixed gammas.

    Source: Bunne et al., CellOT, Nature Methods 20 (2023), methods: gamma 2, 1, 0.5, 0.1, 0.01, 0.005.
    """
    kernels = GaussianKernels(CELLOT_GAMMAS)
    return _own(x, kernels, 1.0) + _own(y, kernels, 1.0) - 2 * x.between(y, kernels)


def mmd2_linear(x: Sample, y: Sample) -> float:
    """MMD^2, unbiased, with k(a, b) = a . b: ||mean x - mean y||^2 - tr S_x / N - tr S_y / M, half `energy_squared`.

    Source: Gretton et al. 2012, JMLR 13, eq. 3.
    """
    return energy_squared(x, y) / 2


def _own(sample: Sample, function: PairFunction, of_itself: float) -> float:
    """The mean over all ordered pairs within a sample, with the value of a cell and itself."""
    n = len(sample)
    return (of_itself + (n - 1) * sample.within(function, "one") if n > 1 else of_itself) / n


def _moments(sample: Sample) -> tuple[torch.Tensor, float]:
    """(D,) mean, and trace of the unbiased covariance."""
    cells = load(sample.cells, slice(0, len(sample)), sample.device)
    mean = cells.mean(0)
    return mean, float((cells - mean).square().sum()) / max(1, len(sample) - 1)
