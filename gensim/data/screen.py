"""A perturbation screen in memory: cells, genes and what was done to each cell."""

import hashlib
import json
import logging
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from gensim.config import DataConfig
from gensim.data.cell_file import CellFile
from gensim.data.conditions import column_codes, conditions_of, require_column
from gensim.data.scale import check_scale, to_log1p_cp10k
from gensim.errors import DataError, listing, nearest
from gensim.types import CP10K, LARGEST_COUNT, Condition, FloatArray, IntArray, blocks, first_difference

log = logging.getLogger("gensim")


@dataclass(frozen=True, eq=False)
class Screen:
    """N cells of a perturbation screen.

    Args:
        x: (N, G) float32 in `scale`, canonical CSR.
        scale: `counts` or `log1p_cp10k`.
        genes: G names.
        cells: (N,) unique names.
        library_size: (N,) float32 counts of each cell over all genes of its file (1e4 for log1p CP10k).
        conditions: K conditions, sorted by key.
        condition_of: (N,) condition of each cell.
        batches: names of the experimental batches; empty where the screen has none.
        batch_of: (N,) batch of each cell; zeros where there are none.
        obs: (N rows) the columns that all files have.
        digest: of the screen as it was loaded; selecting genes keeps it.
        control_label, combination_separator: how perturbations are written in this screen.
    """

    x: sparse.csr_matrix
    scale: str
    genes: tuple[str, ...]
    cells: NDArray[np.str_]
    library_size: FloatArray
    conditions: tuple[Condition, ...]
    condition_of: IntArray
    batches: tuple[str, ...]
    batch_of: IntArray
    obs: pd.DataFrame
    digest: str
    control_label: str = "control"
    combination_separator: str = "+"

    def __len__(self) -> int:
        return len(self.cells)

    def log1p_cp10k(self, rows: IntArray | None = None) -> sparse.csr_matrix:
        """(B, G) float32 log1p CP10k of the cells at `rows` (None: all), sparse."""
        if rows is None:
            return to_log1p_cp10k(self.x, self.scale, self.library_size)
        return to_log1p_cp10k(self.x[rows], self.scale, self.library_size[rows])

    def select_genes(self, indices: IntArray) -> "Screen":
        """The same cells with the genes at `indices`; the library size still counts all genes."""
        genes = tuple(self.genes[i] for i in indices)
        x = self.x[:, indices].tocsr()
        x.sort_indices()
        return replace(self, x=x, genes=genes)

    def rows_of(self, condition: Condition) -> IntArray:
        """Rows of the cells of one condition, in the order of the screen.

        Raises:
            DataError: the screen has no such condition.
        """
        if condition not in self._rows:
            known = [c.label for c in self.conditions]
            raise DataError(f"the screen has no condition {condition.label!r}{nearest(condition.label, known)}")
        return self._rows[condition]

    @property
    def controls(self) -> list[Condition]:
        """The control conditions, one for each context that has any."""
        return [condition for condition in self.conditions if condition.is_control]

    @cached_property
    def _rows(self) -> dict[Condition, IntArray]:
        order = np.argsort(self.condition_of, kind="stable")
        ends = np.cumsum(np.bincount(self.condition_of, minlength=len(self.conditions)))[:-1]
        return dict(zip(self.conditions, np.split(order, ends), strict=True))


def read_conditions(config: DataConfig) -> list[Condition]:
    """The conditions of a screen, from what is said of its cells alone; the matrix is not read.

    Raises:
        DataError: a file cannot be read, or an obs column is not there or has gaps.
    """
    files = [CellFile(path, config.layer) for path in config.paths]
    _check_files(files, config)
    return list(conditions_of(_join_obs(files), config, _where(files))[0])


def load_screen(config: DataConfig, require_controls: bool = True) -> Screen:
    """Read one or several files of cells.

    The matrix goes from disk into CSR a block of rows at a time; memory grows with the stored values, never with
    (cells x genes).

    Args:
        require_controls: whether a screen without a control cell is refused.

    Raises:
        DataError: a file cannot be read; files differ in their genes; a cell occurs twice; values are not on the
            declared scale; an obs column is not there or has gaps; or there are no controls.
    """
    files = [CellFile(path, config.layer) for path in config.paths]
    _check_files(files, config)
    cells = np.concatenate([file.cells for file in files])
    _refuse_shared_cells(files)
    obs = _join_obs(files)
    # Everything that obs can get wrong is found before the matrices are read.
    where = _where(files)
    conditions, condition_of = conditions_of(obs, config, where)
    if require_controls:
        _refuse_no_controls(obs, conditions, config, where)
    _warn_of_single_cells(conditions, condition_of)
    batches, batch_of = _batches(obs, config)
    x, library_size = _read_matrices(files, config)
    _refuse_beyond_integers(cells, library_size, "library sizes", "check the counts, or data.library_size_column")
    if config.scale == "counts":
        _refuse_beyond_integers(
            cells, np.asarray(x.sum(axis=1, dtype=np.float64)).ravel(), "sums of counts", "check the counts"
        )
    text = json.dumps([files[0].genes, cells.tolist(), [c.key for c in conditions], batches, config.scale])
    return Screen(
        x=x,
        scale=config.scale,
        genes=files[0].genes,
        cells=cells,
        library_size=library_size,
        conditions=conditions,
        condition_of=condition_of,
        batches=batches,
        batch_of=batch_of,
        obs=obs,
        digest=_digest(text, x, [condition_of, batch_of, library_size]),
        control_label=config.control_label,
        combination_separator=config.combination_separator,
    )


def _check_files(files: list[CellFile], config: DataConfig) -> None:
    if not files:
        raise DataError("data.path lists no file; name at least one .h5ad or .zarr")
    columns = [config.perturbation_column, *config.context_columns]
    columns += [column for column in (config.batch_column, config.dose_column) if column]
    for file in files:
        if file.n_cells == 0:
            raise DataError(f"{file.where} has no cells")
        for column in columns:
            require_column(file.obs, column, f"{file.where}, obs")
        scale = file.uns_gensim.get("scale", config.scale)
        if scale != config.scale:
            raise DataError(f"{file.where} says that it holds {scale}, but data.scale={config.scale} is declared")
        difference = first_difference(files[0].genes, file.genes)
        if difference is not None:
            raise DataError(
                f"{str(files[0].path)!r} (the one) and {str(file.path)!r} (the other) differ in their genes: "
                f"{difference}; the same genes in the same order are needed"
            )


def _refuse_shared_cells(files: list[CellFile]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        names = file.cells.tolist()
        shared = next((name for name in names if name in seen), None)
        if shared is not None:
            raise DataError(
                f"cell {shared!r} is in {seen[shared]!r} and in {str(file.path)!r}; cell names must differ "
                "between files, for instance by a prefix per file"
            )
        if len(files) > 1:
            seen.update(dict.fromkeys(names, str(file.path)))


def _join_obs(files: list[CellFile]) -> pd.DataFrame:
    frames = [file.obs for file in files]
    if len(frames) == 1:
        return frames[0]
    with warnings.catch_warnings():
        # Columns without a value in one file: their type is not used.
        warnings.simplefilter("ignore", FutureWarning)
        joined = pd.concat(frames, join="inner")
    for column in joined.columns:
        if pd.api.types.infer_dtype(joined[column], skipna=True).startswith("mixed"):
            joined[column] = joined[column].astype(str)
    return joined


def _where(files: list[CellFile]) -> str:
    """What is said of the obs of these files together."""
    return f"{files[0].where}, obs" if len(files) == 1 else "obs"


def _refuse_no_controls(obs: pd.DataFrame, conditions: tuple[Condition, ...], config: DataConfig, where: str) -> None:
    if any(condition.is_control for condition in conditions):
        return
    if config.time_column is not None and any(not condition.perturbations for condition in conditions):
        raise DataError(
            f"{where}: no cell labelled {config.control_label!r} has time 0, or none, in column "
            f"{config.time_column!r}; time counts from the perturbation: give the cells that all others are compared "
            "with time 0"
        )
    labels, _ = column_codes(obs, config.perturbation_column)
    raise DataError(
        f"{where}: no cell is labelled data.control_label={config.control_label!r} in column "
        f"{config.perturbation_column!r}{nearest(config.control_label, labels)}; the labels are {listing(labels)}"
    )


def _refuse_beyond_integers(cells: NDArray[np.str_], values: NDArray[np.floating[Any]], what: str, remedy: str) -> None:
    beyond = values > LARGEST_COUNT
    if beyond.any():
        raise DataError(
            f"{int(beyond.sum())} cells have {what} beyond {LARGEST_COUNT}, which integers do not hold, first "
            f"{str(cells[int(np.argmax(beyond))])!r} with {float(values[beyond][0]):.3g}; {remedy}"
        )


def _warn_of_single_cells(conditions: tuple[Condition, ...], condition_of: IntArray) -> None:
    counts = np.bincount(condition_of, minlength=len(conditions))
    single = [condition.label for condition, count in zip(conditions, counts, strict=True) if count == 1]
    if single:
        log.warning("%d conditions have a single cell: %s", len(single), listing(single))


def _batches(obs: pd.DataFrame, config: DataConfig) -> tuple[tuple[str, ...], IntArray]:
    if config.batch_column is None:
        return (), np.zeros(len(obs), dtype=np.int64)
    return column_codes(obs, config.batch_column)


def _read_matrices(files: list[CellFile], config: DataConfig) -> tuple[sparse.csr_matrix, FloatArray]:
    data, indices, sizes, library_size = [], [], [], []
    for file in files:
        column = library_size_column(file, config)
        for rows, block in file.blocks():
            check_scale(block, config.scale, file.where, file.cells[rows], allow_empty=column is not None)
            data.append(block.data)
            indices.append(block.indices)
            sizes.append(np.diff(block.indptr))
            if column is None and config.scale == "counts":
                library_size.append(np.asarray(block.sum(axis=1, dtype=np.float64)).ravel())
        if column is not None:
            library_size.append(stored_library_size(file, column))
        elif config.scale != "counts":
            library_size.append(np.full(file.n_cells, CP10K))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(sizes), dtype=np.int64)])
    shape = (len(indptr) - 1, len(files[0].genes))
    x = sparse.csr_matrix((np.concatenate(data), np.concatenate(indices), indptr), shape=shape)
    return x, np.concatenate(library_size).astype(np.float32)


def library_size_column(file: CellFile, config: DataConfig) -> str | None:
    """Obs column of the library sizes: what gensim noted in the file, else what the config names; None: row sums."""
    noted: str | None = file.uns_gensim.get("library_size_column")
    return noted or config.library_size_column


def stored_library_size(file: CellFile, column: str) -> NDArray[np.float64]:
    """(N,) library sizes from an obs column.

    Raises:
        DataError: no such column, or a value that is not a positive number.
    """
    where = f"{file.where}, obs"
    require_column(file.obs, column, where)
    values = pd.to_numeric(file.obs[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        first = str(file.cells[int(np.argmax(bad))])
        raise DataError(f"{where}: {column!r} is not a positive number in {int(bad.sum())} cells, first {first!r}")
    return values


def _digest(text: str, x: sparse.csr_matrix, columns: list[NDArray[np.generic]]) -> str:
    """BLAKE2b of content, in fixed types and bytes order, whatever the index type or the blocks of reading."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for column in columns:
        digest.update(np.ascontiguousarray(column, dtype="<f4" if column.dtype.kind == "f" else "<i8").data)
    digest.update(x.indptr.astype("<i8").data)
    for part in blocks(x.nnz, 1 << 20):
        digest.update(x.indices[part].astype("<i8").data)
        digest.update(x.data[part].astype("<f4").data)
    return digest.hexdigest()
