"""Exported cells: the same AnnData bit for bit, whole or not at all, in bounded memory; the challenge's file."""

import errno
import os
import re
import shutil
import tracemalloc
from collections import namedtuple

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from test_store import GENES, N_CELLS, cells, chunk_of, content, make, make_schema

from gensim import export as export_module
from gensim.cli import main
from gensim.data import export_file, export_vcc
from gensim.errors import ConfigError, DataError, StoreError
from gensim.export import export
from gensim.store import CellStore

CHALLENGE = pd.DataFrame({"condition": ["control", "A", "A+B"], "perturbation": ["non-targeting", "A", "A+B"]})
NO_CONTROLS = CHALLENGE.assign(condition=["C", "A", "A+B"], perturbation=["C", "A", "A+B"])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Makes a finished store of its own; equal ones are written once and copied."""
    made = tmp_path_factory.mktemp("made")

    def copy(path, **changes):
        schema = make_schema(**{"integers": True, **changes})
        if not (made / schema.digest).exists():
            make(made / schema.digest, schema)
        return shutil.copytree(made / schema.digest, path)

    return copy


def read(path):
    return ad.read_zarr(path) if path.suffix == ".zarr" else ad.read_h5ad(path)


def assert_same(one, other):
    """Equal to the bit, in types too."""
    assert type(one.X) is type(other.X)
    parts = ("data", "indices", "indptr") if sparse.issparse(one.X) else ("X",)
    for name in parts:
        a, b = (x.X if name == "X" else getattr(x.X, name) for x in (one, other))
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b)
    pd.testing.assert_frame_equal(one.obs, other.obs)
    pd.testing.assert_frame_equal(one.var, other.var)
    assert one.uns == other.uns


@pytest.mark.parametrize("as_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize(
    "changes", [{}, {"integers": False}, {"integers": False, "scale": "log1p_cp10k"}], ids=["integers", "counts", "log"]
)
def test_it_is_what_anndata_makes_of_the_store_in_memory(store, tmp_path, changes, suffix, as_sparse):
    path = store(tmp_path / "cells.zarr", **changes)
    before = content(path)
    out = export(path, tmp_path / "deep" / f"out.{suffix}", format=suffix, sparse=as_sparse)
    expected = ad.read_zarr(path)
    assert expected.X.dtype == ("int32" if not changes else "float32")
    if as_sparse:
        expected.X = sparse.csr_matrix(expected.X)
    expected.write_h5ad(tmp_path / "expected.h5ad")
    found = read(out)
    assert_same(found, read(tmp_path / "expected.h5ad"))
    assert isinstance(found.obs["site"].dtype, pd.CategoricalDtype)
    assert found.obs["seen"].dtype == bool
    assert content(path) == before
    assert os.listdir(out.parent) == [out.name]


@pytest.mark.parametrize("chunk_cells", [7, 1000])
@pytest.mark.parametrize(("suffix", "as_sparse"), [("h5ad", False), ("h5ad", True), ("zarr", False), ("zarr", True)])
def test_the_chunks_of_the_store_do_not_show(store, tmp_path, chunk_cells, suffix, as_sparse):
    found = []
    for n in (4, chunk_cells):
        path = store(tmp_path / f"{n}.zarr", chunk_cells=n)
        found.append(read(export(path, tmp_path / f"{n}.out.{suffix}", format=suffix, sparse=as_sparse)))
    assert_same(*found)


def test_an_index_that_may_overflow_is_begun_with_64_bits(tmp_path):
    """A matrix that grows cannot change the type of its row pointers."""
    with export_file.new_file(tmp_path / "x.h5ad") as root:
        rows = sparse.csr_matrix(np.eye(3, dtype=np.int32))
        for n_cells, dtype in ((2**31 // 3, "int32"), (2**31 // 3 + 1, "int64")):
            matrix = export_file.GrowingMatrix(root, tmp_path, (n_cells, 3), rows.dtype, 8, as_sparse=True)
            matrix.append(rows)
            assert root["X/indptr"].dtype == dtype
            assert root["X/indptr"][:].tolist() == [0, 1, 2, 3]


def test_files_are_compressed(store, tmp_path):
    path = store(tmp_path / "cells.zarr")
    with h5py.File(export(path, tmp_path / "dense.h5ad")) as file:
        assert file["X"].compression == "gzip"
    with h5py.File(export(path, tmp_path / "sparse.h5ad", sparse=True)) as file:
        assert {file["X"][name].compression for name in ("data", "indices", "indptr")} == {"gzip"}
    root = zarr.open_group(export(path, tmp_path / "out.zarr", format="zarr"), mode="r")
    assert type(root["X"].compressors[0]).__name__ == "ZstdCodec"
    assert root.metadata.consolidated_metadata is not None


@pytest.mark.parametrize(
    ("suffix", "as_sparse", "n_genes", "n_few", "most_growth"),
    [("h5ad", False, 5, 2**15, 2**20), ("h5ad", True, 400, 2**11, 3 * 2**20), ("zarr", True, 400, 2**11, 3 * 2**20)],
)
def test_memory_does_not_grow_with_cells(tmp_path, suffix, as_sparse, n_genes, n_few, most_growth):
    """Four times the cells add 9.4 MiB of X with 400 genes, and 1.5 MiB of names with 5 genes.

    The peak grows by row pointers, 0.02 MiB; what zarr has not given back yet moves it by 1 MiB from run to run.
    """
    peaks = []
    for n_cells in (n_few, 4 * n_few):
        path = tmp_path / f"{n_cells}.zarr"
        genes = tuple(f"g{i}" for i in range(n_genes))
        plain_store(path, make_schema(genes=genes, n_cells=n_cells, chunk_cells=n_few // 4, integers=True))
        tracemalloc.start()
        export(path, tmp_path / f"{n_cells}.out.{suffix}", format=suffix, sparse=as_sparse)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + most_growth, peaks


def plain_store(path, schema):
    """A store of Poisson counts, its arrays filled at once."""
    unfinished = CellStore.create(path, schema)
    inside = zarr.open_group(tmp := path.with_name(path.name + ".partial") / "cells", mode="r+", use_consolidated=False)
    inside["X"][:] = np.random.default_rng(0).poisson(0.5, (schema.n_cells, len(schema.genes)))
    inside["obs/_index"][:] = np.array(schema.cell_names(slice(0, schema.n_cells)), dtype=object)
    tmp.rename(path)
    shutil.rmtree(unfinished.path.with_name(path.name + ".partial"))


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_a_write_that_fails_half_way_leaves_nothing(store, tmp_path, monkeypatch, suffix):
    path, out = store(tmp_path / "cells.zarr"), tmp_path / "folder" / f"out.{suffix}"
    append, calls = export_file.GrowingMatrix.append, []

    def full(matrix, rows):
        calls.append(rows)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(matrix, rows)

    with monkeypatch.context() as patch:
        patch.setattr(export_file.GrowingMatrix, "append", full)
        with pytest.raises(StoreError, match=rf"cannot write .*out\.{suffix}.*No space left"):
            export(path, out, format=suffix)
    assert len(calls) == 4
    assert os.listdir(out.parent) == []

    export(path, out, format=suffix)
    before, calls[:] = content(out.parent), []
    with monkeypatch.context() as patch:
        patch.setattr(export_file.GrowingMatrix, "append", full)
        with pytest.raises(StoreError, match="No space left"):
            export(path, out, format=suffix, sparse=True, overwrite=True)
    assert content(out.parent) == before
    assert sparse.issparse(read(export(path, out, format=suffix, sparse=True, overwrite=True)).X)
    assert os.listdir(out.parent) == [out.name]


def test_a_full_disk_is_foreseen(store, tmp_path, monkeypatch):
    """HDF5 would end the process. A chunk of 4 cells and 5 genes has 80 bytes, and twice that is asked for."""
    path, usage = store(tmp_path / "cells.zarr"), namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(159))
    with pytest.raises(StoreError, match=r"out\.h5ad': it needs 0\.0 MB"):
        export(path, tmp_path / "out.h5ad")
    assert os.listdir(tmp_path) == ["cells.zarr"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(160))
    export(path, tmp_path / "out.h5ad")


def test_what_is_there_is_not_replaced_unasked(store, tmp_path):
    path = store(tmp_path / "cells.zarr")
    for suffix in ("h5ad", "zarr"):
        out = export(path, tmp_path / f"out.{suffix}", format=suffix)
        before = content(tmp_path)
        with pytest.raises(StoreError, match=r"exists.*--overwrite"):
            export(path, out, format=suffix)
        assert content(tmp_path) == before
    thesis = tmp_path / "thesis.h5ad"
    thesis.write_text("dear")
    with pytest.raises(StoreError, match=r"thesis\.h5ad' exists and is no \.h5ad"):
        export(path, thesis, overwrite=True)
    (tmp_path / "folder.h5ad").mkdir()
    with pytest.raises(StoreError, match=r"folder\.h5ad' exists and is no \.h5ad"):
        export(path, tmp_path / "folder.h5ad", overwrite=True)
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(StoreError, match="no AnnData Zarr store"):
        export(path, tmp_path / "folder.zarr", format="zarr", overwrite=True)
    assert thesis.read_text() == "dear"


def test_what_is_no_finished_store_is_refused(store, tmp_path):
    schema = make_schema()
    unfinished = CellStore.create(tmp_path / "begun.zarr", schema)
    unfinished.write(*chunk_of(schema, 0))
    out = tmp_path / "out.h5ad"
    for name in ("begun.zarr", "begun.zarr.partial"):
        with pytest.raises(StoreError, match=rf"{name}' is not finished.*gensim sample again"):
            export(tmp_path / name, out)
    with pytest.raises(DataError, match=r"absent\.zarr' does not exist"):
        export(tmp_path / "absent.zarr", out)
    (tmp_path / "folder.zarr").mkdir()
    zarr.create_group(tmp_path / "plain.zarr")
    ad.AnnData(np.zeros((2, 2), np.float32)).write_h5ad(tmp_path / "file.h5ad")
    sparse_store = export(store(tmp_path / "cells.zarr"), tmp_path / "sparse.zarr", format="zarr", sparse=True)
    for name in ("folder.zarr", "plain.zarr", "file.h5ad", sparse_store.name):
        with pytest.raises(DataError, match=rf"{name}' is no store of cells"):
            export(tmp_path / name, out)
    assert not out.exists()


def test_options_that_do_not_go_together_are_refused(store, tmp_path):
    path = store(tmp_path / "cells.zarr")
    with pytest.raises(ConfigError, match="did you mean 'h5ad'"):
        export(path, tmp_path / "out.h5ad", format="h5a")
    for suffix, other in (("h5ad", "zarr"), ("zarr", "h5ad")):
        with pytest.raises(StoreError, match=rf"written as \.{suffix}.*use .*out\.{suffix}$"):
            export(path, tmp_path / f"out.{other}", format=suffix)
    for extra in ({"genes": "genes.csv"}, {"controls": "controls.h5ad"}):
        with pytest.raises(ConfigError, match="belong to format 'vcc', got 'h5ad'"):
            export(path, tmp_path / "out.h5ad", **extra)
    with pytest.raises(ConfigError, match=r"needs the genes.*--genes"):
        export(path, tmp_path / "out.h5ad", format="vcc")
    assert os.listdir(tmp_path) == ["cells.zarr"]


ORDER = [3, 0, 4, 2, 1]


@pytest.fixture
def genes(tmp_path):
    path = tmp_path / "genes.csv"
    path.write_text("".join(f"{GENES[i]}\n" for i in ORDER))
    return path


def controls(path, x=None, **obs):
    """Nine real cells, every third of them a control."""
    labels = ["non-targeting", "A", "Z"] * 3
    x = np.random.default_rng(1).poisson(2.0, (9, len(GENES))) if x is None else x
    adata = ad.AnnData(
        sparse.csr_matrix(x.astype(np.float32)),
        obs=pd.DataFrame({"perturbation": labels, "batch": "b", **obs}, index=[f"real_{i}" for i in range(9)]),
        var=pd.DataFrame(index=list(reversed(GENES))),
    )
    adata.write_h5ad(path)
    return path, x[::3, ::-1]


def assert_prediction(out, counts, labels):
    found = ad.read_h5ad(out)
    assert isinstance(found.X, sparse.csr_matrix)
    assert found.X.dtype == np.float32
    assert found.X.has_canonical_format
    assert (found.X.data != 0).all()
    np.testing.assert_array_equal(found.X.toarray(), counts[:, ORDER])
    assert found.var_names.tolist() == [GENES[i] for i in ORDER]
    assert found.obs.columns.tolist() == ["target_gene"]
    assert isinstance(found.obs["target_gene"].dtype, pd.CategoricalDtype)
    assert found.obs["target_gene"].tolist() == labels
    assert found.obs_names.tolist() == [str(i) for i in range(len(labels))]
    assert not found.uns


@pytest.mark.parametrize("integers", [True, False])
def test_a_prediction_with_simulated_controls(store, tmp_path, genes, integers):
    path = store(tmp_path / "cells.zarr", conditions=CHALLENGE, integers=integers)
    out = export(path, tmp_path / "prediction.h5ad", format="vcc", genes=genes)
    counts, _, condition, _, _ = cells()
    assert_prediction(out, counts, CHALLENGE["perturbation"].iloc[condition].tolist())


def test_a_prediction_with_real_controls(store, tmp_path, genes, monkeypatch):
    monkeypatch.setattr(export_vcc, "CELLS_AT_ONCE", 2)
    path = store(tmp_path / "cells.zarr", conditions=NO_CONTROLS)
    file, real = controls(tmp_path / "controls.h5ad")
    out = export(path, tmp_path / "prediction.h5ad", format="vcc", genes=genes, controls=file)
    counts, _, condition, _, _ = cells()
    labels = [*NO_CONTROLS["perturbation"].iloc[condition], *["non-targeting"] * 3]
    assert_prediction(out, np.vstack([counts, real]), labels)


def test_a_store_knows_its_own_control_label(store, tmp_path, genes):
    """Simulated controls are controls, whatever real ones are called, and never a target gene."""
    named = CHALLENGE.assign(perturbation=["control", "A", "A+B"])
    changes = {"conditions": named, "provenance": {"control_label": "control"}}
    out = export(store(tmp_path / "cells.zarr", **changes), tmp_path / "one.h5ad", format="vcc", genes=genes)
    counts, _, condition, _, _ = cells()
    assert_prediction(out, counts, CHALLENGE["perturbation"].iloc[condition].tolist())
    file, _ = controls(tmp_path / "controls.h5ad")
    with pytest.raises(DataError, match="has control cells itself; leave out --controls"):
        export(tmp_path / "cells.zarr", tmp_path / "two.h5ad", format="vcc", genes=genes, controls=file)


def test_other_names_of_column_and_controls(store, tmp_path, genes):
    conditions = pd.DataFrame({"condition": ["control", "A", "B"], "gene": ["ctrl", "A", "B"]})
    path = store(tmp_path / "cells.zarr", conditions=conditions)
    options = {"perturbation_column": "gene", "control_label": "ctrl"}
    out = export(path, tmp_path / "prediction.h5ad", format="vcc", genes=genes, **options)
    counts, _, condition, _, _ = cells()
    assert_prediction(out, counts, np.array(["non-targeting", "A", "B"])[condition].tolist())


@pytest.fixture
def refused(store, tmp_path, genes):
    """The message of the refusal of a store as a prediction; nothing is written."""

    def check(message, options=None, **changes):
        path = store(tmp_path / "cells.zarr", **{"conditions": CHALLENGE, **changes})
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(DataError, match=message):
            export(path, tmp_path / "prediction.h5ad", format="vcc", **{"genes": genes, **(options or {})})
        assert sorted(os.listdir(tmp_path)) == before
        shutil.rmtree(path)

    return check


def test_genes_that_differ_from_the_list_are_refused(tmp_path, refused):
    for name, listed, message in (
        ("lacking", [*GENES, "gene9"], "lacks 1 of 6 genes of the list, first 'gene9'"),
        ("extra", GENES[:-2], "has 2 genes that are not in the list, first 'gene3'"),
        ("empty", [], "is empty"),
        ("repeat", [*GENES, "gene0"], "repeats 'gene0'"),
        ("header", ["gene_name", *GENES], "lacks 1 of 6 genes of the list, first 'gene_name'"),
    ):
        (tmp_path / name).write_text("\n".join(listed))
        refused(message, {"genes": tmp_path / name})
    refused("absent' cannot be read", {"genes": tmp_path / "absent"})


def test_what_is_not_counts_is_refused(refused):
    refused(
        r"holds log1p_cp10k, .*data\.scale=counts.*autoencoder\.kind=nb.*cells=counts",
        integers=False,
        scale="log1p_cp10k",
    )


def test_the_first_cell_that_breaks_a_bound_is_named(store, tmp_path, genes):
    """Cells 6 and 9 are changed; what is allowed at the bound itself is let through."""
    counts = cells()[0]
    out = tmp_path / "prediction.h5ad"
    for value, message in (
        (2.5, r"cell 'cell_0000006' has the value 2\.5, .*train with data\.scale=counts"),
        (-1.0, r"cell 'cell_0000006' has the value -1, "),
        (np.nan, r"cell 'cell_0000006' has the value nan, "),
        (np.inf, r"cell 'cell_0000006' has inf counts"),
        (1_000_001.0 - counts[6].sum() + counts[6, 2], r"cell 'cell_0000006' has 1,000,001 counts, .*1,000,000"),
        (1_000_000.0 - counts[6].sum() + counts[6, 2], None),
    ):
        path = store(tmp_path / "cells.zarr", conditions=CHALLENGE, integers=False)
        x = zarr.open_group(path, mode="r+")["X"]
        x[6, 2], x[9, 1] = value, value if message else 0
        if message is None:
            assert ad.read_h5ad(export(path, out, format="vcc", genes=genes)).X[6].sum() == 1_000_000
        else:
            with pytest.raises(DataError, match=message):
                export(path, out, format="vcc", genes=genes)
            assert not out.exists()
        shutil.rmtree(path)


def test_too_many_cells_are_refused(store, refused, monkeypatch, tmp_path, genes):
    monkeypatch.setattr(export_vcc, "MOST_CELLS", N_CELLS - 1)
    refused("23 cells, and cell-eval takes 22 at most")
    monkeypatch.setattr(export_vcc, "MOST_CELLS", N_CELLS)
    export(store(tmp_path / "c.zarr", conditions=CHALLENGE), tmp_path / "out.h5ad", format="vcc", genes=genes)


def test_control_cells_must_be_there_once(tmp_path, refused):
    file, _ = controls(tmp_path / "controls.h5ad")
    refused(
        "no cell of .*cells.zarr' is labelled 'non-targeting' in 'perturbation'.*--controls", conditions=NO_CONTROLS
    )
    refused("has control cells itself; leave out --controls", {"controls": file})
    other, _ = controls(tmp_path / "treated.h5ad", perturbation="A")
    refused("no cell of .*treated.h5ad' is labelled", {"controls": other}, conditions=NO_CONTROLS)
    real_logs, _ = controls(tmp_path / "logs.h5ad", x=np.log1p(np.full((9, len(GENES)), 2.0)))
    message = r"logs\.h5ad': cell 'real_0' has the value 1\.09861, .*give a file whose X holds counts"
    refused(message, {"controls": real_logs}, conditions=NO_CONTROLS)


def test_labels_that_do_not_name_a_condition_are_refused(refused):
    contexts = pd.DataFrame({"condition": ["control", "A | x", "A | y"], "perturbation": ["non-targeting", "A", "A"]})
    refused(r"'A' stands for 'A \| [xy]', 'A \| [xy]', .*one context, dose and time", conditions=contexts)
    refused("has no obs column 'gene'.*--perturbation-column", {"perturbation_column": "gene"})
    gap = CHALLENGE.assign(perturbation=["non-targeting", None, "A+B"])
    first = f"cell_{int(np.argmax(cells()[2] == 1)):07d}"
    refused(f"cell '{first}' has no 'perturbation'", conditions=gap)


def test_by_command_line(store, tmp_path, genes, capsys):
    path = store(tmp_path / "cells.zarr", conditions=CHALLENGE)
    out = tmp_path / "out.h5ad"
    assert main(["export", str(path), "--out", str(out), "--sparse"]) == 0
    assert capsys.readouterr().out == f"cells: {out}\n"
    assert sparse.issparse(ad.read_h5ad(out).X)
    assert main(["export", str(path), "--out", str(out)]) == 2
    came = capsys.readouterr()
    assert came.out == ""
    assert re.fullmatch(r"gensim: error: [^\n]*--overwrite[^\n]*\n", came.err)
    options = ["--format", "vcc", "--genes", str(genes), "--overwrite"]
    assert main(["export", str(path), "--out", str(out), *options]) == 0
    assert ad.read_h5ad(out).obs.columns.tolist() == ["target_gene"]
    assert main(["export", str(path), "--out", str(out), *options, "--control-label", "ctrl"]) == 2
    assert re.fullmatch(r"gensim: error: [^\n]*'ctrl'[^\n]*\n", capsys.readouterr().err)


def test_formats_are_those_of_the_command_line():
    with pytest.raises(SystemExit):
        main(["export", "cells.zarr", "--out", "out.h5ad", "--format", "h5"])
    assert export_module.FORMATS == ("h5ad", "zarr", "vcc")
