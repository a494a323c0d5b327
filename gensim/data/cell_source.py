"""Cells that can be read a few at a time, by condition, as log1p CP10k over a fixed list of genes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.config import DataConfig
from gensim.data.cell_file import CellFile
from gensim.data.conditions import conditions_of
from gensim.data.scale import LARGEST_LOG, to_log1p_cp10k
from gensim.data.screen import Screen, library_size_column, stored_library_size
from gensim.errors import DataError, listing, nearest
from gensim.seeding import digest
from gensim.types import CP10K, Condition, FloatArray, IntArray, first_difference

CELLS_AT_ONCE = 1024
LARGEST_LOG1P = float(np.log1p(CP10K))
MOST_ABOVE_TOTAL = 2.0
"""Times 1e4 that the median simulated cell may have in total before it cannot pass for log1p CP10k."""


class CellSource(Protocol):
    """Anything that names its genes and conditions, and reads the rows it is asked for."""

    @property
    def genes(self) -> tuple[str, ...]: ...

    @property
    def conditions(self) -> tuple[Condition, ...]: ...

    def rows(self, condition: Condition) -> IntArray:
        """Rows of the cells of `condition`, rising; empty where there are none."""
        ...

    def read(self, rows: IntArray) -> sparse.csr_matrix | FloatArray:
        """(len(rows), G) float32 log1p CP10k, in the order of `rows`."""
        ...

    def counts_per_cell(self, rows: IntArray) -> FloatArray | None:
        """(len(rows),) L of which x = log(1 + 1e4 counts / L); None where the cells are no counts."""
        ...


@dataclass(frozen=True, slots=True)
class ArrayCells:
    """Cells in memory.

    Args:
        genes: G names.
        conditions: K conditions.
        condition_of: (N,) index into `conditions`.
        x: (N, G) float32 log1p CP10k, sparse or dense.
        library_size: (N,) counts per cell; None where they are no counts.
    """

    genes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    condition_of: IntArray
    x: sparse.csr_matrix | FloatArray
    library_size: FloatArray | None = None

    def rows(self, condition: Condition) -> IntArray:
        return _rows_of(condition, self.conditions, self.condition_of)

    def read(self, rows: IntArray) -> sparse.csr_matrix | FloatArray:
        return self.x[rows]

    def counts_per_cell(self, rows: IntArray) -> FloatArray | None:
        return None if self.library_size is None else self.library_size[rows]


@dataclass(frozen=True, slots=True)
class ScreenCells:
    """The cells of a screen, or only those at `keep` (sorted rows), for instance the held-out ones of a split."""

    screen: Screen
    keep: IntArray | None = None

    @property
    def genes(self) -> tuple[str, ...]:
        return tuple(self.screen.genes)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        codes = self.screen.condition_of if self.keep is None else self.screen.condition_of[self.keep]
        return tuple(self.screen.conditions[code] for code in np.unique(codes))

    def rows(self, condition: Condition) -> IntArray:
        found = _rows_of(condition, self.screen.conditions, self.screen.condition_of)
        return found if self.keep is None else np.intersect1d(found, self.keep, assume_unique=True)

    def read(self, rows: IntArray) -> sparse.csr_matrix:
        return self.screen.log1p_cp10k(rows)

    def counts_per_cell(self, rows: IntArray) -> FloatArray | None:
        return self.screen.library_size[rows] if self.screen.scale == "counts" else None


@dataclass(frozen=True, slots=True)
class FileCells:
    """The cells of a file, of which only the rows asked for are in memory. Made by `cell_source_from_file`.

    Args:
        file: where they are; its `uns["gensim"]` may name the obs column that holds library sizes.
        config: scale of the file, and the columns that make conditions.
        genes: G names to read.
        columns: (G,) where they are in the file; None where the file has exactly these genes.
        conditions: K conditions.
        condition_of: (N,) index into `conditions`.
        library_size: (N,) counts per cell over all genes of the screen; None: the sum over the file's genes.
        over_genes: whether that sum is over `genes` alone, so that files of other genes are on one scale.
    """

    file: CellFile
    config: DataConfig
    genes: tuple[str, ...]
    columns: IntArray | None
    conditions: tuple[Condition, ...]
    condition_of: IntArray
    library_size: FloatArray | None
    over_genes: bool = False

    def rows(self, condition: Condition) -> IntArray:
        return _rows_of(condition, self.conditions, self.condition_of)

    def read(self, rows: IntArray) -> sparse.csr_matrix:
        """Raises DataError where the file declares no scale of its own and its values contradict the config's."""
        order = np.argsort(rows, kind="stable")
        parts = [self._log1p(*block) for block in self.file.blocks(rows[order], CELLS_AT_ONCE)]
        if not parts:
            return sparse.csr_matrix((0, len(self.genes)), dtype=np.float32)
        return sparse.csr_matrix(sparse.vstack(parts, format="csr"))[np.argsort(order, kind="stable")]

    def counts_per_cell(self, rows: IntArray) -> FloatArray | None:
        """Reads the cells where no column of the file says it."""
        if self.config.scale != "counts":
            return None
        if self.library_size is not None:
            return self.library_size[rows]
        order = np.argsort(rows, kind="stable")
        found = np.empty(len(rows), dtype=np.float32)
        counted = (self._counted(block) for _, block in self.file.blocks(rows[order], CELLS_AT_ONCE))
        found[order] = np.concatenate([np.empty(0, dtype=np.float32), *(_totals(block) for block in counted)])
        return found

    def _counted(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """The genes of the file that the sum over genes is over."""
        if self.over_genes and self.library_size is None and self.columns is not None:
            return sparse.csr_matrix(block[:, self.columns])
        return block

    def _log1p(self, rows: IntArray, block: sparse.csr_matrix) -> sparse.csr_matrix:
        if "scale" not in self.file.uns_gensim:
            _check_simulated(block, self.config.scale, self.file.where, self.file.cells[rows])
        counted = self._counted(block)
        columns = self.columns if counted is block else None
        library_size = _totals(counted) if self.library_size is None else self.library_size[rows]
        if self.config.scale == "counts" and not (library_size > 0).all():
            k = int(np.argmin(library_size > 0))
            wrong = "no counts" if np.isfinite(library_size[k]) else "a value that is not finite"
            raise DataError(f"{self.file.where}: cell {str(self.file.cells[rows[k]])!r} has {wrong}; remove such cells")
        x = to_log1p_cp10k(counted, self.config.scale, library_size)
        return x if columns is None else sparse.csr_matrix(x[:, columns])


def cell_source_from_file(path: str | Path, data_config: DataConfig, genes: Sequence[str]) -> FileCells:
    """Open a `.h5ad` or AnnData-Zarr file of cells for reading by condition.

    Args:
        path: the file; its X (or `data_config.layer`) is in the scale that it says, else in `data_config.scale`.
        data_config: scale and columns; its own path is not used.
        genes: names wanted, in the order wanted. A file that has them all, among others or in another order, is
            read at these columns.

    Raises:
        DataError: not such a file, a gene is missing (the first difference is named), or a column is missing.
    """
    file = CellFile(path, data_config.layer)
    scale = file.uns_gensim.get("scale", data_config.scale)
    # Logarithms need no library size, and a config that names its column is one of counts.
    column = data_config.library_size_column if scale == "counts" else None
    data_config = data_config.model_copy(update={"scale": scale, "library_size_column": column})
    conditions, condition_of = conditions_of(file.obs, data_config, f"{file.where}, obs")
    columns = _columns(file.genes, tuple(genes), str(path))
    column = library_size_column(file, data_config)
    library_size = None if column is None else stored_library_size(file, column).astype(np.float32)
    return FileCells(file, data_config, tuple(genes), columns, conditions, condition_of, library_size)


def leave_out(cells: FileCells, names: Collection[str]) -> tuple[FileCells, int]:
    """The cells of a file without those of the given names, and how many were left out."""
    known = set(names)
    left_out = np.array([name in known for name in cells.file.cells.tolist()], dtype=bool)
    condition_of = np.where(left_out, -1, cells.condition_of)
    present = np.unique(condition_of[~left_out])
    conditions = tuple(cells.conditions[k] for k in present)
    row = np.full(len(cells.conditions) + 1, -1, dtype=np.int64)
    row[present] = np.arange(len(present))
    return replace(cells, conditions=conditions, condition_of=row[condition_of]), int(left_out.sum())


def names_digest(cells: FileCells) -> str:
    """Digest of the names of the perturbed cells, condition by condition, in the order of the file.

    Two sources of one digest are split in the same halves by the same seed; control cells do not count, nor does the
    order in which conditions stand in the file.
    """
    names = cells.file.cells
    perturbed = sorted((c for c in cells.conditions if not c.is_control), key=lambda c: c.key)
    return digest([[c.key, names[cells.rows(c)].tolist()] for c in perturbed])


def _check_simulated(block: sparse.csr_matrix, scale: str, where: str, cells: NDArray[np.str_]) -> None:
    """Refuse cells that are plainly on the other scale.

    Milder than the check of a screen, because cells may come from any simulator: expected counts need not be integers,
    and totals of simulated logarithms only come near 1e4.
    """
    values = block.data
    if not len(values):
        return
    first = str(cells[0])
    whole = bool((values == np.floor(values)).all())
    if scale == "counts" and values.min() < 0:
        raise DataError(f"{where}: negative values near cell {first!r}, but data.scale=counts is declared")
    if scale == "counts" and not whole and values.max() < LARGEST_LOG:
        raise DataError(
            f"{where}: values near cell {first!r} are not integers and at most {values.max():.3g}; "
            "they look like log1p, declare data.scale=log1p_cp10k"
        )
    if scale == "log1p_cp10k":
        cp10k = sparse.csr_matrix((np.expm1(np.minimum(values, 100.0)), block.indices, block.indptr), block.shape)
        total = float(np.median(np.asarray(cp10k.sum(axis=1))))
        if whole or total > CP10K * MOST_ABOVE_TOTAL:
            raise DataError(
                f"{where}: cells near {first!r} are not log1p CP10k, as declared: "
                + ("every value is an integer" if whole else f"their median total is {total:.3g} counts per 10,000")
                + "; declare data.scale=counts if they are counts, or normalise them to 10,000"
            )


def draw_rows(rows: IntArray, n: int, generator: np.random.Generator) -> IntArray:
    """At most `n` of the rows, without replacement, rising."""
    return rows if len(rows) <= n else np.sort(generator.choice(rows, size=n, replace=False))


def read_dense(source: CellSource, rows: IntArray, where: str) -> FloatArray:
    """(len(rows), G) dense cells, checked to be finite and possible as log1p CP10k."""
    cells = source.read(rows)
    x = np.asarray(cells if isinstance(cells, np.ndarray) else cells.toarray(), dtype=np.float32)
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise DataError(
            f"{where}: {int(bad.sum())} cells have values that are not finite, first row {rows[bad][0]}; "
            "mend or remove them"
        )
    means = x.mean(axis=0, dtype=np.float64)
    # One cell of a poor model may pass the bound; a gene's mean over cells cannot, unless the scale is another one.
    if means.max() > LARGEST_LOG1P:
        gene = source.genes[int(means.argmax())]
        raise DataError(
            f"{where}: gene {gene!r} has mean {means.max():.3g}, and log1p CP10k is at most {LARGEST_LOG1P:.2f}; "
            "the cells are on another scale, declare data.scale=counts if they are counts"
        )
    return x


def _columns(theirs: tuple[str, ...], wanted: tuple[str, ...], where: str) -> IntArray | None:
    difference = first_difference(wanted, theirs)
    if difference is None:
        return None
    position = {gene: i for i, gene in enumerate(theirs)}
    missing = [gene for gene in wanted if gene not in position]
    if missing:
        raise DataError(
            f"{where!r} lacks {len(missing)} of {len(wanted)} genes: {listing(missing)}{nearest(missing[0], theirs)}; "
            f"first difference (wanted, file): {difference}"
        )
    return np.array([position[gene] for gene in wanted], dtype=np.int64)


def _totals(block: sparse.csr_matrix) -> FloatArray:
    return np.asarray(block.sum(axis=1), dtype=np.float32).ravel()


def _rows_of(condition: Condition, conditions: tuple[Condition, ...], condition_of: IntArray) -> IntArray:
    if condition not in conditions:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(condition_of == conditions.index(condition))
