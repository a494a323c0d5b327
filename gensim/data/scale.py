"""What the numbers in a matrix of cells mean: declared as `counts` or `log1p_cp10k`, checked, converted.

CP10k are counts per 10,000: x_log = log(1 + 1e4 x_count / L), with L the counts of the cell over all genes.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gensim.errors import DataError, nearest
from gensim.types import CP10K, SCALES, FloatArray

Cells = TypeVar("Cells", bound=sparse.csr_matrix | FloatArray)

LARGEST_LOG = 20.0
"""Counts that are not integers and stay below this are most likely logarithms (log1p CP10k ends at 9.21)."""
TOTAL_TOLERANCE = 1e-3
"""Relative; float32 logarithms reproduce a total of 1e4 within 1e-5, and totals of other conventions miss by more."""


def check_scale(
    block: sparse.csr_matrix, scale: str, where: str, cells: Sequence[str] | NDArray[np.str_], allow_empty: bool = False
) -> None:
    """Refuse cells that cannot be on the declared scale.

    Args:
        block: (B, G) cells.
        scale: `counts` (integers) or `log1p_cp10k`.
        where: the file, named in the errors.
        cells: (B,) names.
        allow_empty: whether cells without a count may pass, as they can where genes were selected
            and the library size is known from elsewhere.

    Raises:
        DataError: a value is not finite, negative, not of the declared scale, or a cell has no counts at all;
            the message names the number of cells, the first of them, and the remedy.
    """
    _known(scale)
    data = block.data
    row_of = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))

    def refuse(bad: NDArray[np.bool_], what: str, remedy: str) -> None:
        rows = np.unique(row_of[bad])
        first = float(data[np.argmax(bad)])
        raise DataError(
            f"{where}: {len(rows)} cells have {what}, first {str(cells[rows[0]])!r} with {first:g}; {remedy}"
        )

    finite = np.isfinite(data)
    if not finite.all():
        refuse(~finite, "values that are not finite", "remove those cells or genes, or mend the preprocessing")
    if (data < 0).any():
        remedy = "scaled or centred values cannot be used; give counts or log1p CP10k"
        refuse(data < 0, "negative values", remedy)
    if not allow_empty:
        _refuse_empty(block, where, cells)
    whole = data == np.floor(data)
    if scale == "counts" and not whole.all():
        logs = float(data.max()) < LARGEST_LOG
        remedy = "values look like log1p; declare data.scale=log1p_cp10k" if logs else "give the raw counts, or a layer"
        refuse(~whole, "values that are not integers, but data.scale=counts is declared", remedy)
    if scale == "log1p_cp10k":
        if len(data) and whole.all():
            raise DataError(
                f"{where}: every value is an integer (largest {float(data.max()):g}), but data.scale=log1p_cp10k is "
                "declared; values look like counts; declare data.scale=counts"
            )
        _refuse_totals(block, where, cells)


def to_log1p_cp10k(x: Cells, scale: str, library_size: FloatArray) -> Cells:
    """(B, G) cells in `scale` as log(1 + 1e4 x / L), float32, of the same kind (a sparse matrix stays sparse).

    Args:
        library_size: (B,) counts of each cell over all genes of its screen; not used where x is log1p CP10k already.

    Raises:
        DataError: `scale` is not known.
    """
    cells: Any = x
    if _known(scale) == "log1p_cp10k":
        same: Cells = cells.astype(np.float32, copy=False)
        return same
    factor = (CP10K / np.asarray(library_size, dtype=np.float64)).astype(np.float32)
    logs: Cells
    if sparse.issparse(cells):
        data = cells.data.astype(np.float32) * np.repeat(factor, np.diff(cells.indptr))
        logs = sparse.csr_matrix((np.log1p(data, out=data), cells.indices, cells.indptr), shape=cells.shape)
    else:
        logs = np.log1p(cells.astype(np.float32, copy=False) * factor[:, None])
    return logs


def _known(scale: str) -> str:
    if scale not in SCALES:
        raise DataError(f"scale {scale!r} is not known{nearest(scale, SCALES)}; it is one of {', '.join(SCALES)}")
    return scale


def _refuse_empty(block: sparse.csr_matrix, where: str, cells: Sequence[str] | NDArray[np.str_]) -> None:
    empty = np.flatnonzero(np.asarray(block.sum(axis=1)).ravel() == 0)
    if len(empty):
        raise DataError(
            f"{where}: {len(empty)} cells have no counts, first {str(cells[empty[0]])!r}; "
            "remove them (scanpy.pp.filter_cells(adata, min_counts=1))"
        )


def _refuse_totals(block: sparse.csr_matrix, where: str, cells: Sequence[str] | NDArray[np.str_]) -> None:
    """The CP10k of a cell add up to 1e4 over all genes, and to less over some of them."""
    # Far above any log1p CP10k, and far below where expm1 overflows.
    cp10k = sparse.csr_matrix(
        (np.expm1(np.minimum(block.data, 100.0), dtype=np.float64), block.indices, block.indptr), shape=block.shape
    )
    totals = np.asarray(cp10k.sum(axis=1)).ravel()
    above = np.flatnonzero(totals > CP10K * (1 + TOTAL_TOLERANCE))
    if len(above):
        raise DataError(
            f"{where}: {len(above)} cells have more than 10,000 counts per 10,000, first {str(cells[above[0]])!r} with "
            f"{totals[above[0]]:.6g}; log1p_cp10k means the natural logarithm after normalising to 1e4 "
            "(scanpy.pp.normalize_total(adata, target_sum=1e4), scanpy.pp.log1p(adata)); other totals cannot be used"
        )
