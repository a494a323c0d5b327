"""A screen holds exactly the cells of its files, and refuses those that cannot be used."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from screens import adata_of, counts, screen_of, write_zarr

from gensim.config import DataConfig
from gensim.data import cell_file
from gensim.data.screen import load_screen
from gensim.errors import DataError
from gensim.types import Condition

LABELS = ["control", "A", "B", "A+B", "control", "A"]
TYPES = ["T", "T", "B", "B", "B", "T"]
X = counts(6, 5)


def typed(**columns):
    return adata_of(LABELS, X, cell_type=TYPES, **columns)


def test_a_screen_by_hand(tmp_path):
    screen = screen_of(tmp_path, typed(day=[2, 1, 1, 1, 2, 2]), context_columns=["cell_type"], batch_column="day")
    np.testing.assert_array_equal(screen.x.toarray(), X)
    assert (screen.x.dtype, screen.scale, len(screen)) == (np.float32, "counts", 6)
    assert screen.genes == ("g0", "g1", "g2", "g3", "g4")
    np.testing.assert_array_equal(screen.library_size, X.sum(axis=1))
    assert screen.library_size.dtype == np.float32
    assert screen.batches == ("1", "2")
    assert screen.batch_of.tolist() == [1, 0, 0, 0, 1, 1]
    a_in_t = Condition(("A",), (("cell_type", "T"),))
    assert screen.rows_of(a_in_t).tolist() == [1, 5]
    assert screen.controls == [Condition((), (("cell_type", "B"),)), Condition((), (("cell_type", "T"),))]
    np.testing.assert_allclose(
        screen.log1p_cp10k(np.array([3, 0])).toarray(),
        np.log1p(X[[3, 0]] * 1e4 / X[[3, 0]].sum(axis=1, keepdims=True)),
        rtol=1e-6,
    )
    with pytest.raises(DataError, match=r"no condition 'C \| T'"):
        screen.rows_of(Condition(("C",), (("cell_type", "T"),)))


def test_selected_genes_keep_the_library_size(tmp_path):
    screen = screen_of(tmp_path, typed())
    some = screen.select_genes(np.array([1, 4]))
    assert some.genes == ("g1", "g4")
    np.testing.assert_array_equal(some.x.toarray(), X[:, [1, 4]])
    np.testing.assert_array_equal(some.log1p_cp10k().toarray(), screen.log1p_cp10k().toarray()[:, [1, 4]])
    assert some.digest == screen.digest


def test_what_is_wrong_in_obs_is_said_of_the_file_and_of_several_files_together(tmp_path):
    with pytest.raises(DataError, match=r"screen.h5ad', obs: dose column 'dose' is missing, negative.*'cell1'"):
        screen_of(tmp_path, typed(dose=[0, -1, 1, 1, 0, 1]), dose_column="dose")
    paths = [str(tmp_path / f"{name}.h5ad") for name in "ab"]
    for path, doses in zip(paths, ([0, 1, 1, 1, 0, 1], [0, 1, -1, 1, 0, 1]), strict=True):
        adata_of(LABELS, X, prefix=path[-6], dose=doses).write_h5ad(path)
    with pytest.raises(DataError, match=r"^obs: dose column 'dose' is missing, negative.*'b2'"):
        load_screen(DataConfig(path=paths, scale="counts", dose_column="dose"))


def test_no_batch_column(tmp_path):
    screen = screen_of(tmp_path, typed())
    assert screen.batches == ()
    assert screen.batch_of.tolist() == [0] * 6


def test_logs_have_ten_thousand_counts(tmp_path):
    adata = typed()
    adata.X = sparse.csr_matrix(np.log1p(X * 1e4 / X.sum(axis=1, keepdims=True)).astype(np.float32))
    screen = screen_of(tmp_path, adata, scale="log1p_cp10k")
    assert screen.library_size.tolist() == [1e4] * 6
    np.testing.assert_array_equal(screen.log1p_cp10k().toarray(), adata.X.toarray())


def test_noted_library_size_is_used(tmp_path):
    adata = typed(total=np.arange(100.0, 106.0))
    adata.uns["gensim"] = '{"library_size_column": "total"}'
    assert screen_of(tmp_path, adata).library_size.tolist() == list(range(100, 106))
    adata.obs["total"] = [1, 2, 0, 4, 5, np.nan]
    with pytest.raises(DataError, match="'total' is not a positive number in 2 cells, first 'cell2'"):
        screen_of(tmp_path, adata)


def test_digest_knows_content_and_nothing_else(tmp_path, monkeypatch):
    first = screen_of(tmp_path, typed()).digest
    dense = typed()
    dense.X = X.astype(np.float64)
    assert screen_of(tmp_path, dense).digest == first
    zarr = write_zarr(typed(), tmp_path / "a.zarr", 3)
    assert load_screen(DataConfig(path=str(zarr), scale="counts")).digest == first
    halves = [str(tmp_path / "a.h5ad"), str(tmp_path / "b.h5ad")]
    typed()[:2].copy().write_h5ad(halves[0])
    typed()[2:].copy().write_h5ad(halves[1])
    both = load_screen(DataConfig(path=halves, scale="counts"))
    assert both.digest == first
    np.testing.assert_array_equal(both.x.toarray(), X)
    blocks = cell_file.CellFile.blocks
    monkeypatch.setattr(cell_file.CellFile, "blocks", lambda self: blocks(self, size=2))
    assert screen_of(tmp_path, typed()).digest == first
    changed = typed()
    changed.X[0, 0] += 1
    relabelled, renamed, other_genes = typed(), typed(), typed()
    relabelled.obs["perturbation"] = ["control", "A", "B", "A+B", "control", "B"]
    renamed.obs_names = [f"x{i}" for i in range(6)]
    other_genes.var_names = [f"h{i}" for i in range(5)]
    digests = {screen_of(tmp_path, adata).digest for adata in (changed, relabelled, renamed, other_genes)}
    assert len(digests | {first}) == 5


def test_digest_sees_counts_that_change_places(tmp_path):
    rows = [[[1, 2, 0], [1, 1, 1]], [[2, 1, 0], [1, 1, 1]], [[1, 0, 2], [1, 1, 1]]]
    adatas = [adata_of(["control", "A"], np.array(x, dtype=np.float32)) for x in rows]
    assert len({screen_of(tmp_path, adata).digest for adata in adatas}) == 3


def two_files(folder, first, second):
    paths = [str(folder / "one.h5ad"), str(folder / "two.h5ad")]
    first.write_h5ad(paths[0])
    second.write_h5ad(paths[1])
    return DataConfig(path=paths, scale="counts")


def test_files_must_have_the_same_genes(tmp_path):
    other = adata_of(LABELS, X, prefix="other")
    other.var_names = ["g0", "g2", "g1", "g3", "g4"]
    with pytest.raises(DataError) as error:
        load_screen(two_files(tmp_path, typed(), other))
    message = str(error.value)
    assert "position 1 is 'g1' in the one and 'g2' in the other" in message
    assert message.index("one.h5ad") < message.index("two.h5ad")


def test_files_must_not_share_a_cell(tmp_path):
    other = adata_of(LABELS, X, prefix="other")
    other.obs_names = ["y0", "cell3", *(f"y{i}" for i in range(2, 6))]
    with pytest.raises(DataError, match=r"'cell3' is in .*one.h5ad' and in .*two.h5ad'"):
        load_screen(two_files(tmp_path, typed(), other))


def test_obs_of_several_files_has_their_common_columns(tmp_path):
    first, second = typed(note=["x"] * 6, only_here=[1] * 6), adata_of(LABELS, X, prefix="other", note=[np.nan] * 6)
    obs = load_screen(two_files(tmp_path, first, second)).obs
    assert sorted(obs.columns) == ["note", "perturbation"]
    assert obs["note"].isna().tolist() == [False] * 6 + [True] * 6


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"screen.h5ad', obs: no column 'celltype' \(did you mean 'cell_type'\?\)"):
        screen_of(tmp_path, typed(), context_columns=["celltype"])


def test_absent_controls(tmp_path):
    with pytest.raises(
        DataError, match=r"control_label='contrl' .*did you mean 'control'.*'A', 'A\+B', 'B', 'control'"
    ):
        screen_of(tmp_path, typed(), control_label="contrl")
    adata_of(["A", "B"]).write_h5ad(tmp_path / "a.h5ad")
    config = DataConfig(path=str(tmp_path / "a.h5ad"), scale="counts")
    assert load_screen(config, require_controls=False).controls == []


def test_wrong_scale_names_the_file_and_cell(tmp_path):
    adata = typed()
    adata.X = sparse.csr_matrix(np.where(np.arange(6)[:, None] == 4, X + 0.5, X))
    with pytest.raises(DataError, match=r"screen.h5ad'.*first 'cell4'.*declare data.scale=log1p_cp10k"):
        screen_of(tmp_path, adata)


def test_a_file_that_declares_another_scale(tmp_path):
    adata = typed()
    adata.uns["gensim"] = '{"scale": "log1p_cp10k"}'
    with pytest.raises(DataError, match=r"says that it holds log1p_cp10k, but data\.scale=counts"):
        screen_of(tmp_path, adata)


def test_gaps_in_a_key_column(tmp_path):
    adata = typed(day=pd.Categorical(["1", None, "1", None, "2", "2"]))
    with pytest.raises(DataError, match="'day' is missing or empty in 2 cells, first 'cell1'"):
        screen_of(tmp_path, adata, batch_column="day")


def test_single_cells_are_allowed_and_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="gensim"):
        screen_of(tmp_path, typed())
    assert "2 conditions have a single cell: 'A+B', 'B'" in caplog.text


def test_library_size_comes_from_the_named_column(tmp_path):
    adata = typed(total=[100.0, 200, 400, 500, 800, 1000])
    screen = screen_of(tmp_path, adata, library_size_column="total")
    np.testing.assert_array_equal(screen.library_size, [100, 200, 400, 500, 800, 1000])
    np.testing.assert_allclose(screen.log1p_cp10k(np.array([1])).toarray()[0], np.log1p(X[1] / 200 * 1e4), rtol=1e-6)
    with pytest.raises(DataError, match=r"totl.*did you mean 'total'"):
        screen_of(tmp_path, adata, library_size_column="totl")
    adata.obs["total"] = [100.0, 200, 0, 500, 800, 1000]
    with pytest.raises(DataError, match="not a positive number in 1 cells"):
        screen_of(tmp_path, adata, library_size_column="total")
    many = np.where(np.arange(6) == 2, 3e9, 1)[:, None] * X
    adata = adata_of(LABELS, many, cell_type=TYPES, total=[100.0, 200, 400, 500, 800, 1000])
    with pytest.raises(
        DataError, match=r"1 cells have sums of counts beyond 2147483647, .* first 'cell2' with [0-9.]+e\+\d+"
    ):
        screen_of(tmp_path, adata, library_size_column="total")
    adata = typed(total=[100.0, 200, 3e9, 500, 800, 1000])
    with pytest.raises(DataError, match=r"1 cells have library sizes beyond 2147483647, .* first 'cell2' with 3e\+09"):
        screen_of(tmp_path, adata, library_size_column="total")
