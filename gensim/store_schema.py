"""What a store of cells will hold: decided, checked and given a digest before the first cell is made."""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gensim.errors import DataError, listing, nearest
from gensim.seeding import digest
from gensim.types import SCALES

SOURCE_CELL = "source_cell"
LIBRARY_SIZE = "library_size"
RESERVED_COLUMNS = ("_index", "zarr.json", SOURCE_CELL, LIBRARY_SIZE)
LARGEST_CHUNK_BYTES = 2**31 - 2**20
"""zstd as bound by numcodecs takes less than 2 GiB at once."""


@dataclass(frozen=True, eq=False, slots=True)
class ObsColumn:
    """A column of obs that a cell looks up by its condition or by its source cell.

    Args:
        name: of the column.
        by: which code of a cell is the row of `values`.
        values: (rows,) numbers or booleans; for a categorical the codes, -1 where missing.
        categories: of a categorical, sorted; None for numbers and booleans.
    """

    name: str
    by: Literal["condition", "source"]
    values: NDArray[Any]
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class StoreSchema:
    """The request that a store answers. Two requests with one digest ask for the same cells in the same chunks.

    Args:
        genes: G names in order, unique.
        scale: what X holds, ``counts`` or ``log1p_cp10k``.
        n_cells: cells in the finished store, at least 1.
        chunk_cells: cells per chunk; the last chunk may have fewer.
        conditions: K rows, in the order of the codes of `CellChunk.condition`; each column becomes an obs column.
            The column ``condition`` holds the labels. Text becomes categorical, numbers and booleans stay.
        sources: one row per source cell in the order of `CellChunk.source`, indexed by unique names; columns as above.
        provenance: JSON-serialisable facts about how the cells are made; kept in ``uns["gensim"]``.
        integers: X holds whole numbers, int32 on disk, and not float32; only for sampled ``counts``.

    Raises:
        DataError: no cells, integers on another scale, a repeated gene or source, a column that cannot be stored, or
            provenance that is not JSON.
    """

    genes: tuple[str, ...]
    scale: str
    n_cells: int
    chunk_cells: int
    conditions: pd.DataFrame
    sources: pd.DataFrame
    provenance: dict[str, Any]
    integers: bool = False
    columns: tuple[ObsColumn, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._check_shape()
        if "condition" not in self.conditions.columns:
            known = [str(name) for name in self.conditions.columns]
            raise DataError(
                f"the table of conditions has no column 'condition' with labels{nearest('condition', known)};"
                f" it has {listing(known)}"
            )
        cells = [str(name) for name in self.sources.index]
        _refuse_repeats(cells, "source cells")
        source_cell = ObsColumn(SOURCE_CELL, "source", _codes(len(cells), np.arange(len(cells))), tuple(cells))
        columns = (*obs_columns(self.conditions, "condition"), *obs_columns(self.sources, "source"), source_cell)
        _refuse_repeats([column.name for column in columns], "obs columns (of conditions and sources together)")
        object.__setattr__(self, "columns", columns)
        try:
            json.dumps(self.provenance, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"provenance is not JSON: {error}; use text, finite numbers, lists and mappings") from error

    def _check_shape(self) -> None:
        if self.scale not in SCALES:
            raise DataError(f"scale {self.scale!r} is unknown{nearest(self.scale, SCALES)}; it is one of {SCALES}")
        if self.integers and self.scale != "counts":
            raise DataError(f"a store of integers holds counts, got scale {self.scale!r}; use scale='counts' for them")
        if self.n_cells < 1 or self.chunk_cells < 1:
            raise DataError(
                f"a store needs at least one cell, in chunks of at least one, got n_cells={self.n_cells}"
                f" and chunk_cells={self.chunk_cells}; ask for more cells"
            )
        if not self.genes or not len(self.conditions) or not len(self.sources):
            raise DataError(
                f"a store needs genes, conditions and source cells, got {len(self.genes)} genes,"
                f" {len(self.conditions)} conditions and {len(self.sources)} sources"
            )
        _refuse_repeats(list(self.genes), "genes")
        if self.rows_per_chunk * len(self.genes) * 4 > LARGEST_CHUNK_BYTES:
            fitting = max(1, LARGEST_CHUNK_BYTES // (4 * len(self.genes)))
            raise DataError(
                f"a chunk of {self.rows_per_chunk} cells and {len(self.genes)} genes is above 2 GiB;"
                f" use chunk_cells={fitting} or less"
            )

    @property
    def rows_per_chunk(self) -> int:
        return min(self.chunk_cells, self.n_cells)

    @property
    def n_chunks(self) -> int:
        return -(-self.n_cells // self.chunk_cells)

    def rows(self, index: int) -> slice:
        """Cells of chunk `index`."""
        start = index * self.chunk_cells
        return slice(start, min(start + self.chunk_cells, self.n_cells))

    def cell_names(self, rows: slice) -> list[str]:
        """``cell_0000000``, ``cell_0000001``, ...: position in the plan, as wide as the last one needs (at least 7)."""
        width = max(7, len(str(self.n_cells - 1)))
        return [f"cell_{i:0{width}d}" for i in range(rows.start, rows.stop)]

    @cached_property
    def parts(self) -> dict[str, Any]:
        """What the digest is made of, so that two requests can be told apart in words."""
        tables: dict[str, list[Any]] = {"condition": [], "source": []}
        for column in self.columns:
            values = column.values
            tables[column.by].append([column.name, column.categories, str(values.dtype), values.tolist()])
        return {
            "n_cells": self.n_cells,
            "chunk_cells": self.chunk_cells,
            "scale": self.scale,
            "integers": self.integers,
            "n_genes": len(self.genes),
            "genes": digest(self.genes),
            "conditions": digest(tables["condition"]),
            "sources": digest(tables["source"]),
            # A run that was moved is the same run.
            "provenance": digest({name: fact for name, fact in self.provenance.items() if name != "run"}),
        }

    @property
    def digest(self) -> str:
        """32 hexadecimal characters; equal for equal requests."""
        return digest(self.parts)


def obs_columns(table: pd.DataFrame, by: Literal["condition", "source"]) -> list[ObsColumn]:
    """Columns of `table`, each as numbers, booleans or category codes.

    Raises:
        DataError: a name that cannot be one of an obs column, or a column of mixed or other types.
    """
    _refuse_repeats([str(name) for name in table.columns], f"columns of the table by {by}")
    columns = []
    for name in table.columns:
        if not isinstance(name, str) or name in RESERVED_COLUMNS or not re.fullmatch(r"(?!__)[^./\\][^/\\]*", name):
            raise DataError(f"column {name!r} of the table by {by} cannot be a column of obs; rename it")
        columns.append(_encode(name, by, table[name]))
    return columns


def _encode(name: str, by: Literal["condition", "source"], column: "pd.Series[Any]") -> ObsColumn:
    """Missing values: -1 among codes, NaN among numbers."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return ObsColumn(name, by, column.to_numpy(copy=True))
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(dtype) and not (pd.api.types.is_bool_dtype(dtype) and missing.any()):
        values = column.to_numpy(float, na_value=np.nan) if missing.any() else np.array(column.tolist())
        return ObsColumn(name, by, values)
    present = column[~missing].tolist()
    if isinstance(dtype, pd.CategoricalDtype) and not all(isinstance(value, str) for value in present):
        return _encode(name, by, pd.Series(np.asarray(column)))
    odd = [value for value in present if not isinstance(value, str)]
    if odd:
        raise DataError(
            f"column {name!r} of the table by {by} holds {odd[0]!r} of type {type(odd[0]).__name__} in a column of type"
            f" {dtype}; use text, numbers, or booleans without gaps"
        )
    categories = sorted(set(present))
    place = {category: code for code, category in enumerate(categories)}
    codes = np.full(len(column), -1, np.int64)
    codes[~missing] = [place[value] for value in present]
    return ObsColumn(name, by, _codes(len(categories), codes), tuple(categories))


def _codes(n_categories: int, codes: NDArray[np.int64]) -> NDArray[Any]:
    """Codes in the smallest signed integers that pandas would use."""
    fitting = next(t for t in (np.int8, np.int16, np.int32, np.int64) if n_categories <= np.iinfo(t).max)
    return codes.astype(fitting)


def _refuse_repeats(names: list[str], what: str) -> None:
    repeated = pd.Index(names).duplicated()
    if repeated.any():
        raise DataError(f"{what} repeat {names[int(repeated.argmax())]!r}; each name must be there once")
