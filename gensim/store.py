"""A folder of simulated cells, written chunk by chunk by any number of processes: AnnData in Zarr format 3.

While it is made it lies in ``<path>.partial``: ``cells`` (the AnnData), ``marks`` (one file per finished chunk, with
the chunk's pseudobulk) and ``request.json``. A chunk is written, then marked; what has no mark is made again. The
finished store is renamed to ``<path>``, so readers see it whole or not at all. Memory does not grow with cells.
"""

import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from gensim.atomic import atomic_path, write_json
from gensim.errors import DataError, StoreError, listing
from gensim.pseudobulk import Pseudobulk, merge_pseudobulks
from gensim.store_folder import (
    another_request,
    check_target,
    disk,
    flush,
    keep_or_discard,
    partial_path,
    read_request,
)
from gensim.store_schema import LIBRARY_SIZE, StoreSchema
from gensim.types import CellChunk, FloatArray

# Measured on 4,096 cells x 2,000 genes of float32, one core (ratio, write MB/s, read MB/s):
#                    log1p CP10k of counts     counts               decoded, few zeros
#   zstd 1           7.4   520  1190           7.8   560  1190      1.2   700  1700
#   zstd 3 (auto)    7.5   500  1210           8.0   620  1120      1.2   280   940
#   blosc lz4 5 bit  1.4  1120  3440           5.5  2220  4550      1.1  2830  5580
#   blosc zstd 1 bit 3.3   340   890          10.4   830  1380      1.1   780  2220
#   zstd 1, sampled counts of 2,000 a cell, 71 % zeros: int32 8.9 430 940, float32 7.7 290 890
# Plain zstd 1 finds the few distinct values in a row of log1p CP10k, which shuffled bytes hide;
# with it `write` is as fast as without any compressor (200 and 160 MB/s, decoded cells, disk flushed).
COMPRESSOR = ZstdCodec(level=1)


class CellStore:
    """An unfinished store; `create` makes or resumes it, `open` joins it from another process.

    Chunks may be written in any order and by several processes, as long as each chunk is written by one of them: no
    file is shared between chunks.
    """

    def __init__(self, path: Path, schema: StoreSchema, overwrite: bool) -> None:
        self.path = path
        self.schema = schema
        self._overwrite = overwrite
        self._partial = partial_path(path)
        self._cells = self._partial / "cells"
        self._marks = self._partial / "marks"
        self._group = zarr.open_group(self._cells, mode="r+", use_consolidated=False)
        self._arrays: dict[str, Any] = {name: self._group[name] for name in _array_names(schema)}

    @classmethod
    def create(cls, path: str | Path, schema: StoreSchema, overwrite: bool = False) -> Self:
        """Start the store, or resume an unfinished one of the same request.

        Args:
            path: the finished store will be here; missing parent folders are made.
            schema: what is asked for.
            overwrite: replace a finished store, when the new one is finished, and discard an unfinished one of
                another request.

        Raises:
            StoreError: something is at `path`; an unfinished store of another request is beside it; with `overwrite`,
                what is there was not written by gensim or AnnData; or the folder cannot be written.
        """
        path = Path(path)
        partial = partial_path(path)
        with disk(partial):
            if (partial / "replaced").exists() and not path.exists():
                os.rename(partial / "replaced", path)
            check_target(path, overwrite)
            if os.path.lexists(partial):
                keep_or_discard(partial, schema, overwrite)
            if not partial.exists():
                try:
                    (partial / "marks").mkdir(parents=True)
                    _lay_out(partial / "cells", schema)
                    write_json(partial / "request.json", {"digest": schema.digest, **schema.parts})
                except (OSError, StoreError):
                    shutil.rmtree(partial, ignore_errors=True)
                    raise
            return cls(path, schema, overwrite)

    @classmethod
    def open(cls, path: str | Path, schema: StoreSchema) -> Self:
        """Join a store that another process has created.

        Raises:
            StoreError: there is none, or it answers another request.
        """
        path = Path(path)
        partial = partial_path(path)
        request = read_request(partial)
        if request is None:
            raise StoreError(f"there is no unfinished store at {str(partial)!r} to join; create it first")
        if request.get("digest") != schema.digest:
            raise StoreError(f"{another_request(partial, request, schema)}; open it with the request it was made for")
        with disk(partial):
            return cls(path, schema, overwrite=False)

    @property
    def n_chunks(self) -> int:
        return self.schema.n_chunks

    def missing_chunks(self) -> list[int]:
        """Chunks without a mark, rising: what is left to do."""
        with disk(self._marks):
            names = {entry.name for entry in os.scandir(self._marks)}
        return [index for index in range(self.n_chunks) if self._mark(index).name not in names]

    def write(self, chunk: CellChunk, x: FloatArray | NDArray[np.integer[Any]], partial: Pseudobulk) -> None:
        """Write one chunk, then mark it.

        Args:
            chunk: n cells; its place must be that of the schema.
            x: (n, G) the cells in the scale of the schema; whole numbers of any type where the schema has integers.
            partial: pseudobulk of exactly these cells, in the same scale.

        Raises:
            ValueError: chunk, x and partial do not fit the schema or each other.
            DataError: x has values that are not finite or below 0; or, where the schema has integers, not whole or
                beyond int32.
            StoreError: the chunk is already there, or the disk is full or cannot be written.
        """
        self._check(chunk, x, partial)
        rows = self.schema.rows(chunk.index)
        mark = self._mark(chunk.index)
        if mark.exists():
            raise StoreError(f"chunk {chunk.index} of {str(self._partial)!r} is already written")
        with disk(self._partial):
            files = [self._cells / name / "c" / str(chunk.index) for name in self._arrays]
            files[0] /= "0"  # X has a second dimension
            for file in files:
                file.unlink(missing_ok=True)  # early zarr 3 reads what a killed write left in a chunk that is not full
            for name, values in self._values(chunk, x).items():
                self._arrays[name][rows] = values
            for file in files:
                flush(file)  # a mark must not outlive its chunk when the machine goes down
            with atomic_path(mark) as temporary:
                np.savez(temporary, allow_pickle=False, **partial.to_arrays())
                flush(temporary)

    def pseudobulk(self) -> Pseudobulk:
        """Pseudobulk of all cells: marks folded in chunk order, so equal to the bit for any number of processes.

        Call it before `finish`, which removes the marks.

        Raises:
            StoreError: chunks are missing, or a mark cannot be read.
        """
        self._refuse_missing()
        parts = (self._read_mark(index) for index in range(self.n_chunks))
        return merge_pseudobulks(parts, len(self.schema.genes), self.schema.scale)

    def finish(self) -> Path:
        """Consolidate the metadata and move the store to its place; to be called once, by the process that created it.

        Raises:
            StoreError: chunks are missing; or something has appeared at the path and overwriting was not asked for.
        """
        self._refuse_missing()
        with disk(self._partial):
            for leftover in self._cells.rglob("*.partial"):
                leftover.unlink()  # temporary files of writes that were killed
            consolidate(self._group)
            check_target(self.path, self._overwrite)
            if self.path.exists():
                os.rename(self.path, self._partial / "replaced")
            os.rename(self._cells, self.path)
            shutil.rmtree(self._partial)
        return self.path

    def _mark(self, index: int) -> Path:
        return self._marks / f"chunk-{index:08d}.npz"

    def _read_mark(self, index: int) -> Pseudobulk:
        mark = self._mark(index)
        try:
            with mark.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return Pseudobulk.from_arrays(arrays)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise StoreError(
                f"mark {str(mark)!r} is damaged ({error}); delete it to have its chunk made again"
            ) from error

    def _refuse_missing(self) -> None:
        missing = self.missing_chunks()
        if missing:
            raise StoreError(
                f"{str(self._partial)!r} lacks {len(missing)} of {self.n_chunks} chunks: {listing(missing)};"
                f" run the same request again to make them"
            )

    def _check(self, chunk: CellChunk, x: FloatArray | NDArray[np.integer[Any]], partial: Pseudobulk) -> None:
        schema = self.schema
        if not 0 <= chunk.index < self.n_chunks:
            raise ValueError(f"chunk {chunk.index} is not among the {self.n_chunks} chunks of the store")
        rows = schema.rows(chunk.index)
        if (chunk.start, chunk.start + len(chunk)) != (rows.start, rows.stop):
            end = chunk.start + len(chunk)
            raise ValueError(f"chunk {chunk.index} is cells {rows.start} to {rows.stop}, got {chunk.start} to {end}")
        if x.shape != (len(chunk), len(schema.genes)):
            raise ValueError(f"chunk {chunk.index} needs x of {(len(chunk), len(schema.genes))}, got {x.shape}")
        for name, codes, table in (
            ("condition", chunk.condition, schema.conditions),
            ("source", chunk.source, schema.sources),
        ):
            if codes.min() < 0 or codes.max() >= len(table):
                raise ValueError(f"chunk {chunk.index} has a {name} outside the {len(table)} rows of the schema")
        codes, counts = np.unique(chunk.condition, return_counts=True)
        same_cells = np.array_equal(partial.condition, codes) and np.array_equal(partial.n, counts)
        if not same_cells or (partial.n_genes, partial.scale) != (len(schema.genes), schema.scale):
            raise ValueError(f"the pseudobulk of chunk {chunk.index} is of other cells, genes or another scale")
        if not (np.isfinite(x).all() and x.min() >= 0):
            raise DataError(f"chunk {chunk.index} has values in {schema.scale} that are not finite or below 0")
        # float32 has 2**31 but not the number before it, so the bound is one that both have.
        if schema.integers and not ((x == np.floor(x)).all() and x.max() < 2**31):
            raise DataError(
                f"chunk {chunk.index} has counts that are not whole numbers below 2**31, and its store holds int32;"
                f" sample the counts, or store them as float32 (integers=False)"
            )

    def _values(self, chunk: CellChunk, x: FloatArray | NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """Rows of the chunk for every array of `_array_names`."""
        codes = {"condition": chunk.condition, "source": chunk.source}
        columns = (column.values[codes[column.by]] for column in self.schema.columns)
        names = np.array(self.schema.cell_names(self.schema.rows(chunk.index)), dtype=object)
        return dict(zip(self._arrays, (x, names, chunk.library_size, *columns), strict=True))


def consolidate(group: zarr.Group) -> None:
    """Put the metadata of all arrays of a group into one file, an extension of format 3 that lazy readers ask for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)
        zarr.consolidate_metadata(group.store)


def _array_names(schema: StoreSchema) -> list[str]:
    columns = [f"obs/{c.name}" + ("/codes" if c.categories is not None else "") for c in schema.columns]
    return ["X", "obs/_index", f"obs/{LIBRARY_SIZE}", *columns]


def _lay_out(path: Path, schema: StoreSchema) -> None:
    """The empty AnnData (its on-disk format 0.1.0): every array with a row per cell has the same chunks of rows."""
    n_genes = len(schema.genes)
    root = zarr.create_group(path, attributes=_encoding("anndata"))

    def per_cell(group: zarr.Group, name: str, dtype: Any, kind: str = "array", width: tuple[int, ...] = ()) -> None:
        group.create_array(
            name,
            shape=(schema.n_cells, *width),
            chunks=(schema.rows_per_chunk, *width),
            dtype=dtype,
            compressors=COMPRESSOR,
            attributes=_encoding(kind, "0.2.0"),
        )

    per_cell(root, "X", "int32" if schema.integers else "float32", width=(n_genes,))
    obs = root.create_group("obs", attributes=_frame([*(column.name for column in schema.columns), LIBRARY_SIZE]))
    per_cell(obs, "_index", str, "string-array")
    per_cell(obs, LIBRARY_SIZE, "float32")
    for column in schema.columns:
        if column.categories is None:
            per_cell(obs, column.name, column.values.dtype)
        else:
            categorical = _encoding("categorical", "0.2.0") | {"ordered": False}
            group = obs.create_group(column.name, attributes=categorical)
            per_cell(group, "codes", column.values.dtype)
            _write_strings(group, "categories", column.categories)
    _write_strings(root.create_group("var", attributes=_frame([])), "_index", schema.genes)
    for name in ("layers", "obsm", "obsp", "varm", "varp"):
        root.create_group(name, attributes=_encoding("dict"))
    uns = root.create_group("uns", attributes=_encoding("dict"))
    text = uns.create_array("gensim", shape=(), dtype=str, attributes=_encoding("string", "0.2.0"))
    text[...] = json.dumps({**schema.provenance, "scale": schema.scale, "library_size_column": LIBRARY_SIZE})


def _encoding(kind: str, version: str = "0.1.0") -> dict[str, Any]:
    return {"encoding-type": kind, "encoding-version": version}


def _frame(columns: list[str]) -> dict[str, Any]:
    return _encoding("dataframe", "0.2.0") | {"_index": "_index", "column-order": columns}


def _write_strings(group: zarr.Group, name: str, values: tuple[str, ...]) -> None:
    attributes = _encoding("string-array", "0.2.0")
    array = group.create_array(name, shape=(len(values),), dtype=str, attributes=attributes)
    array[:] = np.array(values, dtype=object)
