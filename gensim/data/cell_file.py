"""Cells in a file: AnnData's `.h5ad` or `.zarr`, read a block of rows at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.compat import ZarrGroup
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from gensim.errors import DataError, listing, nearest
from gensim.types import IntArray, blocks

LARGEST_GAP = 8
"""Rows between two wanted ones that are read along, because a seek costs more than they do."""


class CellFile:
    """An AnnData file whose names and obs are in memory and whose matrix stays on disk.

    Args:
        path: `.h5ad`, or a `.zarr` folder of zarr format 2 or 3.
        layer: the layer to read; None for X.

    Attributes:
        genes: var names. cells: (N,) obs names. obs: N rows. uns_gensim: what gensim itself noted in the file, or {}.

    Raises:
        DataError: no such file, not an AnnData, no such layer, or a gene or a cell name occurs twice.
    """

    _turning = Lock()

    def __init__(self, path: str | Path, layer: str | None = None) -> None:
        self.path = Path(path)
        self.where = f"file {str(path)!r}" + (f", layer {layer!r}" if layer is not None else "")
        self._turned: sparse.csr_matrix | None = None
        with self._open() as root:
            self._matrix = self._find_matrix(root, layer)
            self.obs: pd.DataFrame = self._frame(root, "obs")
            self.genes: tuple[str, ...] = tuple(self._frame(root, "var").index.astype(str))
            self.uns_gensim: dict[str, Any] = self._notes(root)
            matrix = root[self._matrix]
            self._encoding = "array" if hasattr(matrix, "shape") else str(matrix.attrs.get("encoding-type"))
            shape = tuple(matrix.shape if self._encoding == "array" else matrix.attrs.get("shape", ()))
            dtype = matrix.dtype if self._encoding == "array" else matrix["data"].dtype
        self.cells: NDArray[np.str_] = self.obs.index.to_numpy(dtype=str)
        self._refuse_repeats("genes", "var_names_make_unique", np.asarray(self.genes, dtype=str))
        self._refuse_repeats("cells", "obs_names_make_unique", self.cells)
        if self._encoding not in ("array", "csr_matrix", "csc_matrix"):
            raise DataError(f"{self.where}: the matrix is stored as {self._encoding!r}; CSR, CSC or dense is needed")
        if shape != (self.n_cells, len(self.genes)):
            raise DataError(f"{self.where}: the matrix is {shape}, obs and var are {(self.n_cells, len(self.genes))}")
        if dtype.kind not in "biuf":
            raise DataError(f"{self.where}: the matrix holds {dtype}; numbers are needed")

    @property
    def n_cells(self) -> int:
        return len(self.obs)

    def blocks(self, rows: IntArray | None = None, size: int = 4096) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
        """The cells, at most `size` at a time, as (their rows in the file, (B, G) float32).

        No more than one block is ever dense. A matrix stored by columns (CSC) cannot be read by rows: it is read
        whole once, and kept as CSR. Indices are sorted, zeros and repeated entries removed.

        Args:
            rows: which cells, in any order; None for all of them.
        """
        wanted = np.arange(self.n_cells) if rows is None else np.asarray(rows, dtype=np.int64)
        with self._open() as root:
            for part in blocks(len(wanted), size):
                yield wanted[part], self._read(root[self._matrix], wanted[part], size)

    def read(self, rows: IntArray) -> sparse.csr_matrix:
        """(B, G) float32 cells at `rows`, in that order."""
        found = [block for _, block in self.blocks(rows)]
        return (
            sparse.vstack(found, format="csr") if found else sparse.csr_matrix((0, len(self.genes)), dtype=np.float32)
        )

    def _read(self, matrix: Any, rows: IntArray, size: int) -> sparse.csr_matrix:
        ordered, back = np.unique(rows, return_inverse=True)
        pieces = []
        for run in _runs(ordered, size):
            first, last = int(run[0]), int(run[-1])
            piece = self._read_range(matrix, first, last + 1)
            pieces.append(piece if len(run) == piece.shape[0] else piece[run - first])
        block = pieces[0] if len(pieces) == 1 else sparse.vstack(pieces, format="csr")
        if not np.array_equal(back, np.arange(len(back))):
            block = block[back]
        block.sum_duplicates()
        block.eliminate_zeros()
        return block

    def _read_range(self, matrix: Any, start: int, stop: int) -> sparse.csr_matrix:
        if self._encoding == "array":
            return sparse.csr_matrix(np.asarray(matrix[start:stop], dtype=np.float32))
        if self._encoding == "csc_matrix":
            return self._by_rows()[start:stop]
        low, high = int(self._indptr[start]), int(self._indptr[stop])
        data = np.asarray(matrix["data"][low:high], dtype=np.float32)
        indices = np.asarray(matrix["indices"][low:high])
        indptr = self._indptr[start : stop + 1] - low
        return sparse.csr_matrix((data, indices, indptr), shape=(stop - start, len(self.genes)))

    @cached_property
    def _indptr(self) -> IntArray:
        with self._open() as root:
            return np.asarray(root[self._matrix]["indptr"][:], dtype=np.int64)

    def _by_rows(self) -> sparse.csr_matrix:
        """A matrix stored by columns, whole; of several threads the first reads it, and the others wait."""
        with self._turning:
            if self._turned is None:
                with self._open() as root:
                    self._turned = sparse.csr_matrix(read_elem(root[self._matrix]).astype(np.float32))
        return self._turned

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The root group. Opened anew for every reading, so that no handle is kept, shared or inherited."""
        if not self.path.exists():
            siblings = [p.name for p in self.path.parent.iterdir()] if self.path.parent.is_dir() else []
            raise DataError(
                f"{self.where} does not exist{nearest(self.path.name, siblings)}; check the path, a relative one "
                f"starts at {str(Path.cwd())!r}"
            )
        if self.path.is_dir():
            if not any((self.path / name).is_file() for name in ("zarr.json", ".zgroup")):
                raise DataError(f"{self.where} is a folder without zarr metadata; an AnnData .zarr or .h5ad is needed")
            try:
                group = ZarrGroup.open(str(self.path), zarr_format=None)
            except (OSError, ValueError, KeyError) as error:
                raise DataError(f"{self.where} cannot be opened as a zarr group ({error}); write it again") from error
            yield self._anndata(group)
        elif not h5py.is_hdf5(self.path):
            raise DataError(f"{self.where} is not an HDF5 file; an AnnData .h5ad (adata.write_h5ad) or .zarr is needed")
        else:
            try:
                file = h5py.File(self.path, "r")
            except OSError as error:
                raise DataError(
                    f"{self.where} cannot be opened ({error}); it may be cut short, copy it again"
                ) from error
            with file:
                yield self._anndata(file)

    def _anndata(self, root: Any) -> Any:
        missing = [name for name in ("obs", "var") if name not in root]
        if missing:
            raise DataError(
                f"{self.where} is not an AnnData: it has no {' and no '.join(missing)}, "
                f"only {listing(sorted(root.keys())) or 'nothing'}; write it with adata.write_h5ad or adata.write_zarr"
            )
        return root

    def _find_matrix(self, root: Any, layer: str | None) -> str:
        layers = sorted(root["layers"].keys()) if "layers" in root else []
        if layer is not None and layer not in layers:
            known = f"its layers are {listing(layers)}" if layers else "it has no layers"
            raise DataError(f"{self.where}: no such layer{nearest(layer, layers)}; {known}")
        if layer is None and "X" not in root:
            raise DataError(f"{self.where} has no X; name one of its layers in data.layer: {listing(layers) or 'none'}")
        return "X" if layer is None else f"layers/{layer}"

    def _frame(self, root: Any, name: str) -> pd.DataFrame:
        frame = read_elem(root[name])
        if not isinstance(frame, pd.DataFrame):
            raise DataError(f"{self.where}: {name} is not a table; read and write the file with a current anndata")
        return frame

    def _notes(self, root: Any) -> dict[str, Any]:
        if "uns" not in root or "gensim" not in root["uns"]:
            return {}
        text = read_elem(root["uns"]["gensim"])
        try:
            notes = json.loads(text) if isinstance(text, str) else None
        except json.JSONDecodeError:
            notes = None
        if not isinstance(notes, dict):
            raise DataError(f"{self.where}: uns['gensim'] is not a JSON object written by gensim; remove or rename it")
        return notes

    def _refuse_repeats(self, what: str, remedy: str, names: NDArray[np.str_]) -> None:
        repeated = pd.Index(names).duplicated()
        if repeated.any():
            first = str(names[int(np.argmax(repeated))])
            raise DataError(
                f"{self.where}: {int(repeated.sum())} {what} repeat a name, first {first!r}; use adata.{remedy}()"
            )


def _runs(rows: IntArray, size: int) -> list[IntArray]:
    """Sorted rows cut into stretches of the file of at most `size` rows, each worth reading in one go."""
    gap = np.concatenate([[True], np.diff(rows) > LARGEST_GAP])
    start = rows[np.flatnonzero(gap)][np.cumsum(gap) - 1]
    span = (rows - start) // size
    cut = gap[1:] | (np.diff(span) != 0)
    return np.split(rows, np.flatnonzero(cut) + 1)
