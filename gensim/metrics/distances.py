"""Distances between two populations of cells: energy distance and squared maximum mean discrepancy.

Both are unbiased estimates from samples of any two sizes, so they are 0 in expectation, and may fall below 0, where
the populations are the same. Distances are taken block by block in float64, so memory is bounded by the block.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from gensim.errors import DataError, GensimError
from gensim.types import blocks

RBF_FACTORS = (0.5, 1.0, 2.0)
CELLS_FOR_MEDIAN = 2_000
CLOSE = 1e-6
"""Pairs whose squared distance is below this share of their squared norms are measured again by differences."""
ELEMENTS_AT_ONCE = 2**23


class NotComputable(GensimError, ValueError):
    """A metric has no value for these cells; the text is the reason, which a report carries in place of the number."""


class CellRows(Protocol):
    """(n, D) cells: an array, a tensor, or a view with a length whose slices are arrays."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


class Mmd(NamedTuple):
    """A squared maximum mean discrepancy and the kernel widths that gave it."""

    value: float
    gammas: tuple[float, ...]


def energy_distance(x: CellRows, y: CellRows, *, block: int = 4096, device: torch.device | str = "cpu") -> float:
    """Energy distance between populations, unbiased and without a square root.

    E = 2 mean d(x_i, y_j) - mean_{i != j} d(x_i, x_j) - mean_{i != j} d(y_i, y_j),   d(a, b) = ||a - b||_2

    Args:
        x: (N, D) cells of the one population, finite, any unit.
        y: (M, D) cells of the other.
        block: cells of each population that are in memory at a time; the value does not depend on it.
        device: where distances are computed, in float64.

    Returns:
        E in the unit of the cells; 0 in expectation where both populations are the same.

    Raises:
        NotComputable: a population has fewer than two cells, so its within-term does not exist.
        DataError: no cells, other dimensions, or values that are not finite.

    Source: Székely and Rizzo, Energy statistics, J. Stat. Plan. Inference 143 (2013), eq. 2.1 and (within-terms as
    U-statistics) section 3.
    """
    pairs = _Pairs(torch.sqrt, block, torch.device(device))
    return 2 * pairs.between(x, y) - pairs.within(x, "first") - pairs.within(y, "second")


def mmd2_rbf(
    x: CellRows,
    y: CellRows,
    *,
    sigma2: float | None = None,
    factors: Sequence[float] = RBF_FACTORS,
    block: int = 4096,
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
    sigma2 = median_squared_distance(x, device=device) if sigma2 is None else sigma2
    if not sigma2 > 0:
        raise NotComputable(f"the kernel width sigma2 is {sigma2:g}: at least half of the real cells are identical")
    gammas = rbf_gammas(sigma2, factors)

    def kernel(squared: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.exp(-gamma * squared) for gamma in gammas]).mean(0)

    pairs = _Pairs(kernel, block, torch.device(device))
    return Mmd(pairs.within(x, "first") + pairs.within(y, "second") - 2 * pairs.between(x, y), gammas)


def rbf_gammas(sigma2: float, factors: Sequence[float] = RBF_FACTORS) -> tuple[float, ...]:
    """gamma = 1 / (2 sigma2 factor), one per factor."""
    return tuple(1 / (2 * sigma2 * factor) for factor in factors)


def median_squared_distance(x: CellRows, *, device: torch.device | str = "cpu") -> float:
    """Median of ||x_i - x_j||^2 over pairs i < j of (N, D) cells; of every k-th cell where N exceeds 2,000.

    The smallest k that leaves at most 2,000 cells is taken, so the value does not depend on chance.

    Raises:
        NotComputable: fewer than two cells.
    """
    if len(x) < 2:
        raise NotComputable(f"the median distance needs at least 2 cells, got {len(x)}")
    step = -(-len(x) // CELLS_FOR_MEDIAN)
    cells = _load(x, slice(0, len(x), step), torch.device(device))
    squared = _squared_distances(cells, cells)
    above = torch.triu_indices(len(cells), len(cells), offset=1, device=squared.device)
    return float(np.median(squared[above[0], above[1]].cpu().numpy()))


class _Pairs:
    """Means over pairs of cells of a function of their squared distance, a block against a block at a time."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], block: int, device: torch.device) -> None:
        self.function, self.block, self.device = function, block, device

    def between(self, x: CellRows, y: CellRows) -> float:
        total = 0.0
        for _, a in self._blocks(x):
            for _, b in self._blocks(y):
                total += float(self.function(_squared_distances(a, b)).sum())
        return total / (len(x) * len(y))

    def within(self, x: CellRows, which: str) -> float:
        """The mean over ordered pairs of two different cells; by symmetry only blocks on and above the diagonal."""
        n = len(x)
        if n < 2:
            raise NotComputable(f"the {which} population has {n} cell; distances within it need at least 2")
        total = 0.0
        for i, a in self._blocks(x):
            own = self.function(_squared_distances(a, a))
            total += float(own.sum() - own.diagonal().sum())
            for _, b in self._blocks(x, start=i + len(a)):
                total += 2 * float(self.function(_squared_distances(a, b)).sum())
        return total / (n * (n - 1))

    def _blocks(self, x: CellRows, start: int = 0) -> Iterator[tuple[int, torch.Tensor]]:
        if len(x) == 0:
            raise DataError("a population without cells has no distance to another; at least one cell is needed")
        for rows in blocks(len(x) - start, self.block):
            yield start + rows.start, _load(x, slice(start + rows.start, start + rows.stop), self.device)


def _load(x: CellRows, rows: slice, device: torch.device) -> torch.Tensor:
    cells = torch.as_tensor(x[rows]).to(device=device, dtype=torch.float64)
    if cells.ndim != 2:
        raise DataError(f"cells have shape {tuple(cells.shape)}; (cells, dimensions) is needed")
    bad = ~torch.isfinite(cells).all(dim=1)
    if bool(bad.any()):
        raise DataError(
            f"{int(bad.sum())} of the cells {rows.start} to {rows.stop - 1} have values that are not finite"
        )
    return cells


def _squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n, m) squared Euclidean distances between (n, D) and (m, D) float64 cells.

    The fast form |a|^2 + |b|^2 - 2 a.b cancels where two cells nearly coincide; the cells are centred first, and
    pairs that are still close against their norms are measured again as |a - b|^2.
    """
    if a.shape[1] != b.shape[1]:
        raise DataError(f"the populations have {a.shape[1]} and {b.shape[1]} dimensions; the same space is needed")
    centre = a.mean(0)
    a, b = a - centre, b - centre
    norms = a.square().sum(1)[:, None] + b.square().sum(1)[None, :]
    squared = torch.addmm(norms, a, b.T, alpha=-2)
    close = torch.nonzero(squared <= CLOSE * norms)
    for rows in blocks(len(close), max(1, ELEMENTS_AT_ONCE // max(1, a.shape[1]))):
        i, j = close[rows].T
        squared[i, j] = (a[i] - b[j]).square().sum(1)
    return squared
