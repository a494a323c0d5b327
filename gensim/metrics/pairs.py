"""Sums over pairs of cells of a function of their squared distance, tile by tile, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gensim.errors import DataError, NotComputable
from gensim.types import blocks

if TYPE_CHECKING:
    import torch

BLOCK = 4096
CLOSE = 1e-6
"""Pairs whose squared distance is below this share of their squared norms are measured again by differences."""
ELEMENTS_AT_ONCE = 2**23
TILE_ON_CPU, TILE_ELSEWHERE = (128, 2**17), (4096, 2**24)
"""Rows and elements at most. 1 MiB of float64 stays in the cache of a core between the product and the sum."""


class CellRows(Protocol):
    """(n, D) cells: an array, a tensor, or a view with a length whose slices are arrays."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


class PairFunction(Protocol):
    """A function of squared distances. Equal functions have equal hashes, since samples keep what they gave."""

    @property
    def vanishes_at(self) -> float:
        """A squared distance at which it is exactly 0."""
        ...

    def sum_(self, squared: torch.Tensor) -> float:
        """Its sum over (n, m) squared distances, which it may overwrite."""
        ...

    def __hash__(self) -> int: ...


class Distance:
    """d = ||a - b||_2."""

    vanishes_at = 0.0

    def sum_(self, squared: torch.Tensor) -> float:
        return float(squared.sqrt_().sum())


DISTANCE = Distance()


class GaussianKernels:
    """k = mean over gammas of exp(-gamma ||a - b||^2).

    Gammas that are powers of 2 times another share its exponential, by exp(-2 gamma s) = exp(-gamma s)^2. Squaring p
    times multiplies the rounding error of an exponential by 2^p, so the relative error stays below 1e-12 for gammas
    less than a factor of 1,000 apart.
    """

    vanishes_at = math.inf

    def __init__(self, gammas: Sequence[float]) -> None:
        self.gammas = tuple(gammas)
        self.families: list[list[tuple[float, int]]] = []
        """Per exponential its gammas, rising, each with the squarings that lead to it from the one before."""
        for gamma in sorted(self.gammas):
            family = next((f for f in self.families if math.frexp(gamma / f[-1][0])[0] == 0.5), None)
            if family is None:
                self.families.append([(gamma, 0)])
            else:
                family.append((gamma, round(math.log2(gamma / family[-1][0]))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GaussianKernels) and self.gammas == other.gammas

    def __hash__(self) -> int:
        return hash(self.gammas)

    def sum_(self, squared: torch.Tensor) -> float:
        total = 0.0
        for i, family in enumerate(self.families):
            last = i == len(self.families) - 1
            kernel = squared.mul_(-family[0][0]) if last else squared * -family[0][0]
            kernel.exp_()
            for _, squarings in family:
                for _ in range(squarings):
                    kernel.square_()
                total += float(kernel.sum())
        return total / len(self.gammas)


class Sample:
    """Cells of one population, and the means over pairs within it that distances to several others share.

    Args:
        cells: (n, D) finite, any unit. They must not change while the sample is used.
        block: cells that are in memory as float64 at a time; values do not depend on it.
        device: where distances are computed.

    Raises:
        DataError: no cells.
    """

    def __init__(self, cells: CellRows, *, block: int = BLOCK, device: torch.device | str = "cpu") -> None:
        import torch

        if len(cells) == 0:
            raise DataError("a population without cells has no distance to another; at least one cell is needed")
        self.cells, self.block, self.device = cells, block, torch.device(device)
        self.known: dict[PairFunction, float] = {}

    def __len__(self) -> int:
        return len(self.cells)

    def within(self, function: PairFunction, which: str) -> float:
        """The mean over ordered pairs of two different cells, computed once per function.

        Raises:
            NotComputable: a single cell; the text calls the population `which`.
        """
        n = len(self)
        if n < 2:
            raise NotComputable(f"the {which} population has {n} cell; distances within it need at least 2")
        if function not in self.known:
            self.known[function] = 2 * self._sum_above_diagonal(function) / (n * (n - 1))
        return self.known[function]

    def between(self, other: Sample, function: PairFunction) -> float:
        """The mean over pairs of a cell of this sample with one of the other."""
        total = 0.0
        for _, a in self._blocks():
            for _, b in other._blocks():
                total += sum(function.sum_(tile) for _, tile in _tiles(a, b))
        return total / (len(self) * len(other))

    def _sum_above_diagonal(self, function: PairFunction) -> float:
        import torch

        total = 0.0
        for i, a in self._blocks():
            for rows, tile in _tiles(a, a, above_diagonal=True):
                own = tile[:, : rows.stop - rows.start]
                own.masked_fill_(torch.ones_like(own, dtype=torch.bool).tril_(), function.vanishes_at)
                total += function.sum_(tile)
            for _, b in self._blocks(start=i + len(a)):
                total += sum(function.sum_(tile) for _, tile in _tiles(a, b))
        return total

    def _blocks(self, start: int = 0) -> Iterator[tuple[int, torch.Tensor]]:
        for rows in blocks(len(self) - start, self.block):
            yield start + rows.start, load(self.cells, slice(start + rows.start, start + rows.stop), self.device)


def load(x: CellRows, rows: slice, device: torch.device) -> torch.Tensor:
    """These cells as float64.

    Raises:
        DataError: not a table of cells, or values that are not finite.
    """
    import torch

    cells = torch.as_tensor(x[rows]).detach().to(device=device, dtype=torch.float64)
    if cells.ndim != 2:
        raise DataError(f"cells have shape {tuple(cells.shape)}; (cells, dimensions) is needed")
    bad = ~cells.isfinite().all(dim=1)
    if bool(bad.any()):
        raise DataError(
            f"{int(bad.sum())} of the cells {rows.start} to {rows.stop - 1} have values that are not finite"
        )
    return cells


def squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n, m) squared Euclidean distances between (n, D) and (m, D) float64 cells, as accurate as by differences."""
    squared = a.new_empty(len(a), len(b))
    for rows, tile in _tiles(a, b):
        squared[rows] = tile
    return squared


def _tiles(a: torch.Tensor, b: torch.Tensor, above_diagonal: bool = False) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows of a, and the squared distances of these to b; above the diagonal only to the columns from their first on.

    One product of (a, |a|^2, 1) and (-2 b, 1, |b|^2) cancels where two cells nearly coincide; the cells are centred
    first, and pairs that are still close against their norms are measured again as |a - b|^2. The next tile takes
    the memory of the one before.
    """
    import torch

    if a.shape[1] != b.shape[1]:
        raise DataError(f"the populations have {a.shape[1]} and {b.shape[1]} dimensions; the same space is needed")
    centre = a.mean(0)
    a, b = a - centre, b - centre
    a_norms, b_norms = a.square().sum(1), b.square().sum(1)
    left = torch.cat([a, a_norms[:, None], torch.ones_like(a_norms)[:, None]], 1)
    right = torch.cat([-2 * b, torch.ones_like(b_norms)[:, None], b_norms[:, None]], 1).T
    close_to_any = CLOSE * float(a_norms.max() + b_norms.max())
    n_rows = _rows_per_tile(len(b), a.device)
    memory = a.new_empty(min(n_rows, len(a)) * len(b))
    for rows in blocks(len(a), n_rows):
        first = rows.start if above_diagonal else 0
        shape = (rows.stop - rows.start, len(b) - first)
        tile = torch.mm(left[rows], right[:, first:], out=memory[: shape[0] * shape[1]].view(shape))
        if above_diagonal:
            tile.fill_diagonal_(math.inf)
        if float(tile.amin()) <= close_to_any:
            _measure_again(tile, a[rows], b[first:], a_norms[rows], b_norms[first:])
        yield rows, tile


def _measure_again(
    squared: torch.Tensor, a: torch.Tensor, b: torch.Tensor, a_norms: torch.Tensor, b_norms: torch.Tensor
) -> None:
    """Replace what cancelled by |a - b|^2."""
    close = (squared <= CLOSE * (a_norms[:, None] + b_norms)).nonzero()
    for rows in blocks(len(close), max(1, ELEMENTS_AT_ONCE // max(1, a.shape[1]))):
        i, j = close[rows].T
        squared[i, j] = (a[i] - b[j]).square().sum(1)


def _rows_per_tile(columns: int, device: torch.device) -> int:
    rows, elements = TILE_ON_CPU if device.type == "cpu" else TILE_ELSEWHERE
    return max(1, min(rows, elements // columns))
