"""Files of cells give back what was written, in any storage, a block at a time."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from screens import adata_of, counts, write_zarr

from gensim.data import cell_file
from gensim.data.cell_file import CellFile
from gensim.errors import DataError

X = counts(23, 6)


def stored(folder, storage, file_format):
    adata = adata_of(["a"] * len(X), X)
    adata.X = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[storage](X)
    adata.layers["twice"] = adata.X * 2
    adata.uns["gensim"] = json.dumps({"scale": "counts"})
    if file_format == "h5ad":
        adata.write_h5ad(folder / "a.h5ad")
        return folder / "a.h5ad"
    return write_zarr(adata, folder / "a.zarr", file_format)


@pytest.mark.parametrize("file_format", ["h5ad", 2, 3])
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_every_storage_gives_the_same_cells(tmp_path, storage, file_format):
    file = CellFile(stored(tmp_path, storage, file_format))
    assert file.n_cells == 23
    assert file.genes == tuple(f"g{i}" for i in range(6))
    assert file.cells.tolist() == [f"cell{i}" for i in range(23)]
    assert file.uns_gensim == {"scale": "counts"}
    assert (file.obs["perturbation"] == "a").all()
    parts = list(file.blocks(size=10))
    assert [len(rows) for rows, _ in parts] == [10, 10, 3]
    for rows, block in parts:
        assert isinstance(block, sparse.csr_matrix)
        assert block.dtype == np.float32
        np.testing.assert_array_equal(block.toarray(), X[rows])
    some = np.array([22, 0, 1, 13, 2, 0])
    np.testing.assert_array_equal(file.read(some).toarray(), X[some])
    layer = CellFile(file.path, "twice")
    np.testing.assert_array_equal(layer.read(np.array([5])).toarray(), 2 * X[[5]])


def test_threads_read_a_matrix_by_columns_once(tmp_path, monkeypatch):
    file = CellFile(stored(tmp_path, "csc", "h5ad"))
    begun = []

    def slowly(element):
        begun.append(element.name)
        time.sleep(0.1)
        return read_elem(element)

    read_elem = cell_file.read_elem
    monkeypatch.setattr(cell_file, "read_elem", slowly)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: file.read(np.array([row])).toarray(), range(8)))
    np.testing.assert_array_equal(np.concatenate(found), X[:8])
    assert begun == ["/X"]


def test_rows_far_apart_and_in_any_order(tmp_path):
    x = counts(200, 5, seed=1)
    adata_of(["a"] * 200, x).write_h5ad(tmp_path / "a.h5ad")
    rows = np.random.default_rng(2).permutation(200)[:60]
    got = [(r, b.toarray()) for r, b in CellFile(tmp_path / "a.h5ad").blocks(rows, size=7)]
    np.testing.assert_array_equal(np.concatenate([r for r, _ in got]), rows)
    np.testing.assert_array_equal(np.concatenate([b for _, b in got]), x[rows])


def test_a_dense_matrix_is_read_a_block_at_a_time(tmp_path, monkeypatch):
    adata = adata_of(["a"] * 100, counts(100, 5))
    adata.X = adata.X.toarray()
    adata.write_h5ad(tmp_path / "a.h5ad")
    file, seen = CellFile(tmp_path / "a.h5ad"), []
    read_range = cell_file.CellFile._read_range
    monkeypatch.setattr(
        cell_file.CellFile, "_read_range", lambda s, m, a, b: seen.append(b - a) or read_range(s, m, a, b)
    )
    list(file.blocks(np.arange(0, 100, 3), size=9))
    assert max(seen) <= 9


def test_no_rows(tmp_path):
    adata_of(["a"] * 23, X).write_h5ad(tmp_path / "a.h5ad")
    assert CellFile(tmp_path / "a.h5ad").read(np.array([], dtype=np.int64)).shape == (0, 6)


def test_stored_zeros_repeats_and_disorder_are_removed(tmp_path):
    adata = adata_of(["a"], np.ones((1, 3), dtype=np.float32))
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        file["X/data"][:] = [2, 0, 3]
        file["X/indices"][:] = [2, 1, 2]
    block = CellFile(tmp_path / "a.h5ad").read(np.array([0]))
    assert (block.indices.tolist(), block.data.tolist()) == ([2], [5.0])


def test_integers_and_doubles_become_float32(tmp_path):
    adata = adata_of(["a"] * 23, X)
    for dtype in (np.int32, np.float64, np.uint16):
        adata.X = sparse.csr_matrix(X).astype(dtype)
        adata.write_h5ad(tmp_path / "a.h5ad")
        block = CellFile(tmp_path / "a.h5ad").read(np.arange(23))
        assert block.dtype == np.float32
        np.testing.assert_array_equal(block.toarray(), X)


def test_missing_file_names_its_neighbour(tmp_path):
    adata_of(["a"]).write_h5ad(tmp_path / "screen.h5ad")
    with pytest.raises(DataError, match=r"does not exist \(did you mean 'screen.h5ad'\?\)"):
        CellFile(tmp_path / "sceen.h5ad")


def test_what_is_not_an_anndata_is_refused(tmp_path):
    (tmp_path / "text.h5ad").write_text("cell,gene\n")
    with pytest.raises(DataError, match="not an HDF5 file"):
        CellFile(tmp_path / "text.h5ad")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["weights"] = [1.0]
    with pytest.raises(DataError, match="not an AnnData: it has no obs and no var, only 'weights'"):
        CellFile(tmp_path / "other.h5ad")
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(DataError, match="without zarr metadata"):
        CellFile(tmp_path / "folder.zarr")
    ad.AnnData(obs=pd.DataFrame(index=["c"]), var=pd.DataFrame(index=["g"])).write_h5ad(tmp_path / "empty.h5ad")
    with pytest.raises(DataError, match="has no X"):
        CellFile(tmp_path / "empty.h5ad")


def test_a_file_cut_short_is_refused(tmp_path):
    adata_of(["a"] * 23, X).write_h5ad(tmp_path / "a.h5ad")
    whole = (tmp_path / "a.h5ad").read_bytes()
    (tmp_path / "a.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        CellFile(tmp_path / "a.h5ad")


def test_missing_layer_names_the_nearest(tmp_path):
    path = stored(tmp_path, "csr", "h5ad")
    with pytest.raises(DataError, match=r"no such layer \(did you mean 'twice'\?\); its layers are 'twice'"):
        CellFile(path, "twise")


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize(("axis", "what"), [("obs_names", "cells"), ("var_names", "genes")])
def test_repeated_names_are_refused(tmp_path, axis, what):
    adata = adata_of(["a"] * 3, X[:3])
    names = list(getattr(adata, axis))
    setattr(adata, axis, [names[0], names[1], names[1], *names[3:]])
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match=f"1 {what} repeat a name, first '{names[1]}'"):
        CellFile(tmp_path / "a.h5ad")


def test_foreign_notes_are_refused(tmp_path):
    adata = adata_of(["a"])
    adata.uns["gensim"] = "an LDA model"
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match="not a JSON object"):
        CellFile(tmp_path / "a.h5ad")
