"""A finished store of cells as one AnnData file, `.h5ad` or `.zarr`, copied a chunk of rows at a time.

Everything is laid out by anndata: a matrix and a table without rows are written, and then grow. What has no row per
cell is small and copied whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.compat import ZarrGroup
from anndata.io import read_elem, sparse_dataset, write_elem
from numpy.typing import NDArray
from scipy import sparse

from gensim.atomic import atomic_path, require_space
from gensim.errors import DataError, StoreError
from gensim.store import COMPRESSOR, consolidate
from gensim.store_folder import partial_path
from gensim.types import blocks

ANNDATA = {"encoding-type": "anndata", "encoding-version": "0.1.0"}
VALUES_PER_CHUNK = 2**18
"""A mebibyte of X, as much as HDF5 keeps of an array in memory; rows are read back fast."""


def open_store(path: Path) -> Any:
    """The zarr group of a finished store.

    Raises:
        StoreError: the store is not finished.
        DataError: nothing is there, or something that `gensim sample` did not write.
    """
    if path.name.endswith(".partial") or (not path.exists() and partial_path(path).exists()):
        raise StoreError(f"store {str(path)!r} is not finished; run the same gensim sample again, which completes it")
    if not path.exists():
        raise DataError(f"store {str(path)!r} does not exist; give the folder that gensim sample wrote")
    try:
        root = ZarrGroup.open(str(path), zarr_format=3)
        ours = "uns/gensim" in root and "obs/_index" in root and hasattr(root["X"], "shape")
    except (OSError, ValueError, KeyError):
        ours = False
    if not ours:
        raise DataError(f"{str(path)!r} is no store of cells; give the .zarr folder that gensim sample wrote")
    return root


def copy_store(path: Path, out: Path, *, as_sparse: bool) -> None:
    """Copy a finished store to `out`, a Zarr folder where its name ends in `.zarr` and an `.h5ad` file otherwise.

    Memory is bounded by a few chunks of the store, whatever its number of cells.

    Args:
        as_sparse: X becomes CSR, canonical, of the type that the store has: int32 or float32.

    Raises:
        DataError, StoreError: see `open_store`; or the disk is full or cannot be written. `out` is then as it was.
    """
    store = open_store(path)
    x = store["X"]
    with new_file(out) as root:
        for name in ("var", "uns", "layers", "obsm", "obsp", "varm", "varp"):
            write_elem(root, name, read_elem(store[name]), dataset_kwargs=_settings(root))
        rows_at_once = x.chunks[0]
        columns = _begin_obs(root, store["obs"], rows_at_once)
        matrix = GrowingMatrix(root, out, x.shape, x.dtype, rows_at_once, as_sparse=as_sparse)
        for rows in blocks(x.shape[0], rows_at_once):
            cells = x[rows]
            matrix.append(sparse.csr_matrix(cells) if as_sparse else cells)
            for source, target in columns:
                _append(target, source[rows])


@contextmanager
def new_file(out: Path) -> Iterator[Any]:
    """The root group of an AnnData to be filled, which appears at `out` when it is complete, or not at all."""
    with atomic_path(out) as temporary:
        if out.suffix == ".zarr":
            root = ZarrGroup.from_store(str(temporary), attributes=ANNDATA)
            yield root
            consolidate(root)
        else:
            with h5py.File(temporary, "w") as file:
                file.attrs.update(ANNDATA)
                yield file


class GrowingMatrix:
    """X of a new file, to which rows are appended.

    Args:
        root: group from `new_file`.
        out: where the file will be, for its messages.
        shape: (N, G) that it will have in the end.
        dtype: of its values.
        rows_at_once: how many rows will be appended at a time; dense Zarr has them as its chunks.
        as_sparse: CSR instead of dense.
    """

    def __init__(
        self,
        root: Any,
        out: Path,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        rows_at_once: int,
        *,
        as_sparse: bool,
    ) -> None:
        self._out = out
        n_cells, n_genes = shape
        settings = _settings(root)
        if as_sparse:
            # anndata lets a matrix grow within the type it was begun with; scipy chooses the same for one in memory.
            indptr = np.int32 if n_cells * n_genes < 2**31 else np.int64
            settings |= {"chunks": (VALUES_PER_CHUNK,), "indptr_dtype": np.dtype(indptr)}
            write_elem(root, "X", sparse.csr_matrix((0, n_genes), dtype=dtype), dataset_kwargs=settings)
            self._rows = sparse_dataset(root["X"])
        else:
            if isinstance(root, h5py.Group):
                rows_at_once = min(rows_at_once, max(1, VALUES_PER_CHUNK // n_genes))
                settings |= {"maxshape": (None, n_genes)}
            settings |= {"chunks": (rows_at_once, n_genes)}
            write_elem(root, "X", np.empty((0, n_genes), dtype), dataset_kwargs=settings)
            self._rows = root["X"]

    def append(self, rows: Any) -> None:
        """Add (B, G) rows: canonical CSR to a sparse matrix, an array to a dense one.

        Raises:
            StoreError: the disk may not hold them. HDF5 raises on a full disk too, but then ends the process.
        """
        require_space(self._out, 2 * rows.shape[0] * rows.shape[1] * rows.dtype.itemsize)
        if sparse.issparse(rows):
            self._rows.append(rows)
        else:
            _append(self._rows, rows)


def _begin_obs(root: Any, obs: Any, rows_at_once: int) -> list[tuple[Any, Any]]:
    """Write obs of a store without its rows; returns what has a row per cell, there and here."""
    names = [str(name) for name in obs.attrs["column-order"]]
    table = pd.DataFrame(index=pd.Index([], dtype=object))
    for name in names:
        column = obs[name]
        if hasattr(column, "shape"):
            table[name] = np.empty(0, column.dtype)
        else:
            table[name] = pd.Categorical.from_codes([], categories=read_elem(column["categories"]))
    settings = _settings(root) | {"chunks": (rows_at_once,)}
    if isinstance(root, h5py.Group):
        settings |= {"maxshape": (None,)}
    write_elem(root, "obs", table, dataset_kwargs=settings)
    paths = ["_index", *(name if hasattr(obs[name], "shape") else f"{name}/codes" for name in names)]
    return [(obs[path], root["obs"][path]) for path in paths]


def _append(array: Any, rows: NDArray[Any]) -> None:
    n = array.shape[0]
    array.resize((n + len(rows), *array.shape[1:]))
    array[n:] = rows


def _settings(root: Any) -> dict[str, Any]:
    """How arrays of a new file are stored. A shard would have to be held in memory whole."""
    if isinstance(root, h5py.Group):
        return {"compression": "gzip"}
    return {"compressor": COMPRESSOR, "shards": None}
