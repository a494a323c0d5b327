"""Distances between two populations of cells: energy distance and squared maximum mean discrepancy.

Both are unbiased estimates from samples of any two sizes, so they are 0 in expectation, and may fall below 0, where
the populations are the same. Pairs are taken block by block in float64, so memory is bounded by the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gensim.errors import NotComputable
from gensim.metrics.pairs import BLOCK, DISTANCE, CellRows, GaussianKernels, Sample, load, squared_distances

if TYPE_CHECKING:
    import torch

__all__ = [
    "RBF_FACTORS", "Mmd", "NotComputable", "Sample", "energy_distance", "median_squared_distance", "mmd2_rbf",
    "rbf_gammas",
]  # fmt: skip

RBF_FACTORS = (0.5, 1.0, 2.0)
CELLS_FOR_MEDIAN = 2_000


class Mmd(NamedTuple):
    """A squared maximum mean discrepancy and the kernel widths that gave it."""

    value: float
    gammas: tuple[float, ...]


def energy_distance(
    x: CellRows | Sample, y: CellRows | Sample, *, block: int = BLOCK, device: torch.device | str = "cpu"
) -> float:
    """Energy distance between populations, unbiased and without a square root.

    E = 2 mean d(x_i, y_j) - mean_{i != j} d(x_i, x_j) - mean_{i != j} d(y_i, y_j),   d(a, b) = ||a - b||_2

    Args:
        x: (N, D) cells of the one population, finite, any unit; a `Sample` where several distances share its mean
            within, with block and device of its own.
        y: (M, D) cells of the other.
        block: cells of each population that are in memory as float64 at a time, beside a tile of distances of 1 MiB
            (128 MiB on an accelerator); the value does not depend on it.
        device: where distances are computed, in float64.

    Returns:
        E in the unit of the cells; 0 in expectation where both populations are the same.

    Raises:
        NotComputable: a population has fewer than two cells, so its within-term does not exist.
        DataError: no cells, other dimensions, or values that are not finite.

    Source: Székely and Rizzo, Energy statistics, J. Stat. Plan. Inference 143 (2013), eq. 2.1 and (within-terms as
    U-statistics) section 3.
    """
    first, second = _sample(x, block, device), _sample(y, block, device)
    return 2 * first.between(second, DISTANCE) - first.within(DISTANCE, "first") - second.within(DISTANCE, "second")


def mmd2_rbf(
    x: CellRows | Sample,
    y: CellRows | Sample,
    *,
    sigma2: float | None = None,
    factors: Sequence[float] = RBF_FACTORS,
    block: int = BLOCK,
    device: torch.device | str = "cpu",
) -> Mmd:
    """Squared maximum mean discrepancy, unbiased, averaged over Gaussian kernels of several widths.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)
    k(a, b) = exp(-gamma ||a - b||^2)

    Args:
        x: (N, D) real cells, the reference.
        y: (M, D) other cells.
        sigma2: squared width; None: `median_squared_distance` of the reference.
        factors: gamma = 1 / (2 sigma2 factor) for each of them; the values are averaged.
        block, device: as in `energy_distance`.

    Returns:
        The value (no unit, 0 in expectation where both populations are the same) and the gammas.

    Raises:
        NotComputable: a population has fewer than two cells, or sigma2 is 0 because most real cells are identical.
        DataError: no cells, other dimensions, or values that are not finite.

    Source: Gretton et al., A kernel two-sample test, JMLR 13 (2012), eq. 3.
    """
    first, second = _sample(x, block, device), _sample(y, block, device)
    sigma2 = median_squared_distance(first.cells, device=first.device) if sigma2 is None else sigma2
    if not sigma2 > 0:
        raise NotComputable(f"the kernel width sigma2 is {sigma2:g}: at least half of the real cells are identical")
    kernels = GaussianKernels(rbf_gammas(sigma2, factors))
    within = first.within(kernels, "first") + second.within(kernels, "second")
    return Mmd(within - 2 * first.between(second, kernels), kernels.gammas)


def rbf_gammas(sigma2: float, factors: Sequence[float] = RBF_FACTORS) -> tuple[float, ...]:
    """gamma = 1 / (2 sigma2 factor), one per factor."""
    return tuple(1 / (2 * sigma2 * factor) for factor in factors)


def median_squared_distance(x: CellRows, *, device: torch.device | str = "cpu") -> float:
    """Median of ||x_i - x_j||^2 over pairs i < j of (N, D) cells; of every k-th cell where N exceeds 2,000.

    The smallest k that leaves at most 2,000 cells is taken, so the value does not depend on chance.

    Raises:
        NotComputable: fewer than two cells.
    """
    import torch

    if len(x) < 2:
        raise NotComputable(f"the median distance needs at least 2 cells, got {len(x)}")
    step = -(-len(x) // CELLS_FOR_MEDIAN)
    cells = load(x, slice(0, len(x), step), torch.device(device))
    squared = squared_distances(cells, cells)
    above = torch.triu_indices(len(cells), len(cells), offset=1, device=squared.device)
    return float(np.median(squared[above[0], above[1]].cpu().numpy()))


def _sample(x: CellRows | Sample, block: int, device: torch.device | str) -> Sample:
    return x if isinstance(x, Sample) else Sample(x, block=block, device=device)
