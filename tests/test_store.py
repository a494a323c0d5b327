"""The store of cells: what AnnData reads back, resuming after a kill, several processes, and what is refused."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import zarr

from gensim.data.in_memory import read_store
from gensim.errors import DataError, StoreError
from gensim.pseudobulk import Pseudobulk
from gensim.store import CellStore
from gensim.store_schema import StoreSchema
from gensim.types import CellChunk

GENES = tuple(f"gene{i}" for i in range(5))
N_CELLS = 23
CHUNK = 4

CONDITIONS = pd.DataFrame(
    {
        "condition": ["control", "A | x", "A+B | x"],
        "cell_type": ["x", None, "y"],
        "dose": [np.nan, 0.5, 2.0],
        "n_perturbations": [0, 1, 2],
        "seen": [True, True, False],
        "site": pd.Categorical(["s2", "s1", "s2"], categories=["s1", "s2", "s3"]),
        "plate": pd.Categorical([7, 9, 7]),
        "passage": pd.array([1, None, 3], dtype="Int64"),
    }
)
SOURCES = pd.DataFrame({"batch": ["b1", "b0", "b1", "b0"]}, index=["cell-é", "q", "r", "s"])


def make_schema(**changes):
    fields = {
        "genes": GENES,
        "scale": "counts",
        "n_cells": N_CELLS,
        "chunk_cells": CHUNK,
        "conditions": CONDITIONS,
        "sources": SOURCES,
        "provenance": {"seed": 3},
    }
    return StoreSchema(**{**fields, **changes})


def cells(n_cells=N_CELLS):
    """The whole request at once: (counts, log1p CP10k, condition, source, library size)."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (n_cells, len(GENES))).astype(np.float32)
    library = counts.sum(axis=1) + 5
    x_log = np.log1p(counts / library[:, None] * 1e4).astype(np.float32)
    condition = np.sort(rng.integers(0, 3, n_cells))
    return counts, x_log, condition, rng.integers(0, 4, n_cells), library.astype(np.float32)


def chunk_of(schema, index):
    """Arguments of `CellStore.write` for one chunk."""
    counts, x_log, condition, source, library = cells(schema.n_cells)
    rows = slice(index * schema.chunk_cells, min((index + 1) * schema.chunk_cells, schema.n_cells))
    in_counts = schema.scale == "counts"
    drawn = counts[rows].astype(np.int64) if in_counts else None
    chunk = CellChunk(index, rows.start, x_log[rows], drawn, condition[rows], source[rows], library[rows])
    partial = Pseudobulk.of(x_log[rows], counts[rows] if in_counts else None, condition[rows])
    return chunk, counts[rows] if in_counts else x_log[rows], partial


def write_all(store):
    for index in store.missing_chunks():
        store.write(*chunk_of(store.schema, index))


def make(path, schema=None, **options):
    store = CellStore.create(path, schema or make_schema(), **options)
    write_all(store)
    return store.finish()


def content(path):
    """Every file of a store with its bytes."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(Path(path).rglob("*")) if p.is_file()}


def test_anndata_reads_what_was_written(tmp_path):
    path = make(tmp_path / "deep" / "cells.zarr")
    counts, _, condition, source, library = cells()
    back = ad.read_zarr(path)
    assert isinstance(back.X, np.ndarray)
    assert back.X.dtype == np.float32
    np.testing.assert_array_equal(back.X, counts)
    assert back.var_names.tolist() == list(GENES)
    assert back.obs_names.tolist() == [f"cell_{i:07d}" for i in range(N_CELLS)]
    table = CONDITIONS.iloc[condition]
    for name in ("condition", "cell_type", "site"):
        assert isinstance(back.obs[name].dtype, pd.CategoricalDtype)
        assert back.obs[name].astype(object).where(back.obs[name].notna(), None).tolist() == table[name].tolist()
    for name, dtype in (("dose", "float64"), ("n_perturbations", "int64"), ("seen", "bool"), ("plate", "int64")):
        assert back.obs[name].dtype == dtype
        np.testing.assert_array_equal(back.obs[name], table[name].to_numpy(dtype))
    np.testing.assert_array_equal(back.obs["passage"], np.array([1, np.nan, 3])[condition])
    assert back.obs["batch"].tolist() == SOURCES["batch"].iloc[source].tolist()
    assert back.obs["source_cell"].tolist() == SOURCES.index[source].tolist()
    assert back.obs["library_size"].dtype == np.float32
    np.testing.assert_array_equal(back.obs["library_size"], library)
    assert json.loads(back.uns["gensim"]) == {"seed": 3, "scale": "counts", "library_size_column": "library_size"}
    assert os.listdir(path.parent) == ["cells.zarr"]


def test_anndata_reads_it_lazily(tmp_path):
    pytest.importorskip("dask", reason="the lazy reader of anndata needs dask")
    pytest.importorskip("xarray", reason="the lazy reader of anndata needs xarray")
    path = make(tmp_path / "cells.zarr")
    lazy = ad.experimental.read_lazy(path)
    assert lazy.X.chunks[0] == (CHUNK,) * 5 + (3,)
    part = lazy[3:9].to_memory()
    whole = ad.read_zarr(path)[3:9]
    np.testing.assert_array_equal(part.X, whole.X)
    assert part.obs["condition"].tolist() == whole.obs["condition"].tolist()
    assert part.obs_names.tolist() == whole.obs_names.tolist()
    x = ad.experimental.read_elem_lazy(zarr.open_group(path, mode="r")["X"])
    np.testing.assert_array_equal(x[5].compute(), whole.X[2])


def test_every_array_with_a_row_per_cell_has_the_same_chunks(tmp_path):
    root = zarr.open_group(make(tmp_path / "cells.zarr"), mode="r")
    arrays = [array for _, array in root["obs"].members(max_depth=2) if isinstance(array, zarr.Array)]
    rows = [array.chunks[0] for array in arrays if array.shape == (N_CELLS,)]
    assert rows == [CHUNK] * 12  # names, library size, 8 columns by condition, 2 by source
    assert root["X"].chunks == (CHUNK, len(GENES))


@pytest.mark.parametrize("chunk_cells", [1, 23, 1000])
def test_chunk_size_does_not_change_the_cells(tmp_path, chunk_cells):
    path = make(tmp_path / "cells.zarr", make_schema(chunk_cells=chunk_cells))
    back, usual = ad.read_zarr(path), ad.read_zarr(make(tmp_path / "usual.zarr"))
    np.testing.assert_array_equal(back.X, usual.X)
    pd.testing.assert_frame_equal(back.obs, usual.obs)


def test_log_scale_keeps_log_and_sums_cp10k(tmp_path):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema(scale="log1p_cp10k"))
    write_all(store)
    _, x_log, condition, _, _ = cells()
    expected = [np.expm1(x_log[condition == k].astype(float)).sum(axis=0) for k in range(3)]
    np.testing.assert_allclose(store.pseudobulk().count_sum, expected, rtol=1e-12)
    np.testing.assert_array_equal(ad.read_zarr(store.finish()).X, x_log)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_sampled_counts_are_kept_as_integers(tmp_path, dtype):
    """The largest count is above 2**24, where float32 has gaps; it is itself one that float32 has."""
    store = CellStore.create(tmp_path / "cells.zarr", make_schema(integers=True))
    largest = 2**31 - 128
    for index in range(store.n_chunks):
        chunk, x, partial = chunk_of(store.schema, index)
        x = x.astype(dtype)
        x[0, 0] = largest
        store.write(chunk, x, partial)
    bulk = store.pseudobulk()
    back = read_store(store.finish())
    expected = cells()[0].astype(np.int64)
    expected[::CHUNK, 0] = largest
    assert back.X.dtype == np.int32
    np.testing.assert_array_equal(back.X, expected)
    assert bulk.scale == "counts"
    assert zarr.open_group(tmp_path / "cells.zarr", mode="r")["X"].dtype == "int32"


def test_pseudobulk_of_integers_is_that_of_the_same_floats():
    counts, x_log, condition, _, _ = cells()
    floats, integers = (Pseudobulk.of(x_log, counts.astype(dtype), condition) for dtype in ("float32", "int32"))
    for name, array in floats.to_arrays().items():
        assert array.tobytes() == integers.to_arrays()[name].tobytes(), name


def test_integers_that_float32_cannot_hold_are_kept(tmp_path):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema(integers=True, n_cells=1))
    chunk, x, partial = chunk_of(store.schema, 0)
    x = x.astype(np.int32)
    x[0, :2] = 2**31 - 1, 2**24 + 1
    store.write(chunk, x, partial)
    assert read_store(store.finish()).X[0, :2].tolist() == [2**31 - 1, 2**24 + 1]


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 2.0**31])
def test_what_is_no_int32_is_refused_where_the_store_has_integers(tmp_path, value):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema(integers=True))
    chunk, x, partial = chunk_of(store.schema, 1)
    x = x.copy()
    x[2, 3] = value
    with pytest.raises(
        DataError, match=r"chunk 1 has (values in counts|counts that are not whole numbers below 2\*\*31)"
    ):
        store.write(chunk, x, partial)
    assert 1 in store.missing_chunks()


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    unbroken = content(make(tmp_path / "unbroken.zarr"))
    store = CellStore.create(tmp_path / "cells.zarr", make_schema())
    for index in (4, 0, 2):
        store.write(*chunk_of(store.schema, index))
    inside = tmp_path / "cells.zarr.partial" / "cells"
    for name in ("X/c/5/0", "obs/_index/c/5", "obs/seen/c/5", "obs/condition/codes/c/1", "X/c/1/0"):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_bytes(b"half of a chunk")  # chunk 5 is the short last one
    (inside / "X/c/1/0.0123abcd.partial").write_bytes(b"temporary file of a write")
    (inside.parent / "marks" / ".chunk-00000003.77.tmp.npz").write_bytes(b"temporary file of a mark")
    assert not (tmp_path / "cells.zarr").exists()

    again = CellStore.create(tmp_path / "cells.zarr", make_schema())
    assert again.missing_chunks() == [1, 3, 5]
    write_all(again)
    whole = Pseudobulk.of(cells()[1], cells()[0], cells()[2])
    np.testing.assert_allclose(again.pseudobulk().mean, whole.mean, rtol=1e-12)
    assert content(again.finish()) == unbroken
    assert sorted(os.listdir(tmp_path)) == ["cells.zarr", "unbroken.zarr"]


def test_a_run_killed_while_it_laid_out_the_store_starts_anew(tmp_path):
    CellStore.create(tmp_path / "cells.zarr", make_schema())
    (tmp_path / "cells.zarr.partial" / "request.json").unlink()
    (tmp_path / "cells.zarr.partial" / "cells" / "zarr.json").unlink()
    assert len(ad.read_zarr(make(tmp_path / "cells.zarr"))) == N_CELLS


def write_share(path, schema, share):
    store = CellStore.open(path, schema)
    for index in range(share, store.n_chunks, 2):
        store.write(*chunk_of(schema, index))


def test_two_processes_make_the_store_of_one(tmp_path):
    alone = CellStore.create(tmp_path / "alone.zarr", make_schema())
    write_all(alone)
    store = CellStore.create(tmp_path / "cells.zarr", make_schema())
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=write_share, args=(store.path, store.schema, share)) for share in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert store.missing_chunks() == []
    for name, array in alone.pseudobulk().to_arrays().items():
        assert array.tobytes() == store.pseudobulk().to_arrays()[name].tobytes(), name
    assert content(store.finish()) == content(alone.finish())


def test_finish_and_pseudobulk_want_all_chunks(tmp_path):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema())
    store.write(*chunk_of(store.schema, 1))
    for job in (store.finish, store.pseudobulk):
        with pytest.raises(StoreError, match="lacks 5 of 6 chunks: '0', '2'"):
            job()
    with pytest.raises(StoreError, match="already written"):
        store.write(*chunk_of(store.schema, 1))


def test_a_damaged_mark_is_named(tmp_path):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema())
    write_all(store)
    mark = tmp_path / "cells.zarr.partial" / "marks" / "chunk-00000002.npz"
    mark.write_bytes(mark.read_bytes()[:50])
    with pytest.raises(StoreError, match=r"chunk-00000002\.npz.*damaged.*delete it"):
        store.pseudobulk()


def test_existing_store_is_kept_until_its_replacement_is_finished(tmp_path):
    path = make(tmp_path / "cells.zarr")
    with pytest.raises(StoreError, match=r"exists.*--overwrite"):
        CellStore.create(path, make_schema())
    old = content(path)
    store = CellStore.create(path, make_schema(provenance={"seed": 4}), overwrite=True)
    write_all(store)
    assert content(path) == old
    store.finish()
    assert json.loads(ad.read_zarr(path).uns["gensim"])["seed"] == 4
    assert os.listdir(tmp_path) == ["cells.zarr"]


def test_a_kill_between_the_two_renames_of_a_replacement_loses_neither(tmp_path):
    path = make(tmp_path / "cells.zarr")
    old = content(path)
    write_all(CellStore.create(path, make_schema(provenance={}), overwrite=True))
    path.rename(tmp_path / "cells.zarr.partial" / "replaced")
    again = CellStore.create(path, make_schema(provenance={}), overwrite=True)
    assert content(path) == old
    assert again.missing_chunks() == []
    again.finish()
    assert "seed" not in json.loads(ad.read_zarr(path).uns["gensim"])


def test_a_store_that_appears_meanwhile_is_not_replaced(tmp_path):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema())
    write_all(store)
    make(tmp_path / "other.zarr").rename(tmp_path / "cells.zarr")
    with pytest.raises(StoreError, match="exists"):
        store.finish()


@pytest.mark.parametrize("kind", ["folder", "file", "plain zarr"])
def test_what_is_not_an_anndata_store_is_never_overwritten(tmp_path, kind):
    path = tmp_path / "thesis"
    if kind == "file":
        path.write_text("dear")
    else:
        path.mkdir()
        (path / "chapter.tex").write_text("dear")
    if kind == "plain zarr":
        zarr.create_group(path, attributes={"mine": 1})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=r"thesis.*no AnnData Zarr store"):
        CellStore.create(path, make_schema(), overwrite=True)
    path.rename(tmp_path / "x.zarr.partial")
    with pytest.raises(StoreError, match=r"x\.zarr\.partial.*something else"):
        CellStore.create(tmp_path / "x.zarr", make_schema(), overwrite=True)
    assert len(sorted(tmp_path.rglob("*"))) == len(before)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"n_cells": 24}, r"n_cells \(23 there, 24 here\)"),
        ({"integers": True}, "in integers"),
        ({"scale": "log1p_cp10k"}, r"scale \('counts' there, 'log1p_cp10k' here\)"),
        ({"genes": ("geneX", *GENES[1:])}, "in genes"),
        ({"conditions": CONDITIONS.assign(dose=[np.nan, 0.5, 3.0])}, "in conditions"),
        ({"sources": SOURCES.rename(index={"q": "p"})}, "in sources"),
        ({"provenance": {"seed": 4}}, "in provenance"),
    ],
)
def test_an_unfinished_store_of_another_request_is_not_mixed(tmp_path, changes, difference):
    path = tmp_path / "cells.zarr"
    CellStore.create(path, make_schema()).write(*chunk_of(make_schema(), 0))
    other = make_schema(**changes)
    with pytest.raises(StoreError, match=difference + ".*--overwrite"):
        CellStore.create(path, other)
    with pytest.raises(StoreError, match=difference):
        CellStore.open(path, other)
    assert CellStore.open(path, make_schema()).missing_chunks() == [1, 2, 3, 4, 5]
    assert len(CellStore.create(path, other, overwrite=True).missing_chunks()) == other.n_chunks


def test_joining_nothing_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="no unfinished store"):
        CellStore.open(tmp_path / "cells.zarr", make_schema())


def test_a_disk_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*cells\.zarr\.partial.*Not a directory"):
        CellStore.create(tmp_path / "file" / "cells.zarr", make_schema())

    store = CellStore.create(tmp_path / "cells.zarr", make_schema())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(StoreError, match=r"cells\.zarr\.partial.*No space left.*free space and run again"):
            store.write(*chunk_of(store.schema, 0))
    assert 0 in store.missing_chunks()
    write_all(store)
    store.finish()


def test_write_refuses_what_does_not_fit(tmp_path):
    store = CellStore.create(tmp_path / "cells.zarr", make_schema())
    chunk, x, partial = chunk_of(store.schema, 1)

    def changed(**changes):
        names = ("index", "start", "x", "counts", "condition", "source", "library_size")
        return CellChunk(**{**{name: getattr(chunk, name) for name in names}, **changes})

    for bad, message in [
        ((changed(index=6), x, partial), "not among the 6"),
        ((changed(start=5), x, partial), "cells 4 to 8, got 5 to 9"),
        ((chunk, x[:, :4], partial), r"\(4, 5\), got \(4, 4\)"),
        ((changed(condition=chunk.condition + 3), x, partial), "condition outside the 3 rows"),
        ((changed(source=chunk.source - 4), x, partial), "source outside the 4 rows"),
        ((chunk, x, chunk_of(store.schema, 5)[2]), "pseudobulk of chunk 1"),
        ((chunk, x, chunk_of(make_schema(scale="log1p_cp10k"), 1)[2]), "another scale"),
    ]:
        with pytest.raises(ValueError, match=message):
            store.write(*bad)
    for value in (np.nan, np.inf, -1.0):
        broken = x.copy()
        broken[2, 3] = value
        with pytest.raises(DataError, match="chunk 1 has values in counts"):
            store.write(chunk, broken, partial)
    assert store.missing_chunks() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_cells": 0}, "at least one cell.*n_cells=0"),
        ({"chunk_cells": 0}, "chunk_cells=0"),
        ({"integers": True, "scale": "log1p_cp10k"}, "integers holds counts, got scale 'log1p_cp10k'"),
        ({"scale": "count"}, "did you mean 'counts'"),
        ({"genes": ()}, "got 0 genes"),
        ({"genes": ("a", "b", "a")}, "genes repeat 'a'"),
        ({"sources": SOURCES.rename(index={"q": "r"})}, "source cells repeat 'r'"),
        ({"conditions": CONDITIONS.rename(columns={"condition": "conditions"})}, "did you mean 'conditions'"),
        ({"conditions": CONDITIONS.assign(batch="b")}, "repeat 'batch'"),
        ({"conditions": CONDITIONS.assign(library_size=1)}, "'library_size'.*rename"),
        ({"conditions": CONDITIONS.assign(**{"a/b": 1})}, "'a/b'.*rename"),
        ({"conditions": CONDITIONS.assign(**{"..": 1})}, r"'\.\.'.*rename"),
        ({"conditions": CONDITIONS.assign(mixed=["x", 1, None])}, "'mixed'.*holds 1 of type int"),
        ({"conditions": CONDITIONS.assign(gap=[True, None, False])}, "'gap'.*holds True of type bool"),
        ({"provenance": {"x": float("nan")}}, "provenance is not JSON"),
        ({"provenance": {"x": Path()}}, "provenance is not JSON"),
        ({"n_cells": 10**9, "chunk_cells": 10**9}, "above 2 GiB; use chunk_cells=107321753"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_kept_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        make_schema(**changes)


def test_columns_that_are_missing_throughout(tmp_path):
    conditions = CONDITIONS[["condition"]].assign(text=[None] * 3, number=[np.nan] * 3)
    obs = ad.read_zarr(make(tmp_path / "cells.zarr", make_schema(conditions=conditions))).obs
    assert obs["text"].isna().all()
    assert obs["number"].isna().all()


def test_a_schema_is_what_it_was_when_it_was_made():
    conditions = CONDITIONS.copy()
    schema = make_schema(conditions=conditions)
    before = make_schema().digest
    conditions["dose"] = 1.0
    conditions.loc[0, "n_perturbations"] = 9
    assert schema.digest == before
    assert len(before) == 32
