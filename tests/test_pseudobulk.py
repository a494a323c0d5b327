"""Pseudobulk: hand-worked numbers, a plain-numpy oracle, and indifference to chunking, order and merging."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from gensim.data.pseudobulk_file import write_pseudobulk
from gensim.errors import DataError, StoreError
from gensim.pseudobulk import Pseudobulk, merge_pseudobulks

GENES = 1500  # more than one block of genes


@pytest.fixture
def cells():
    """(x_log, x_counts, condition) of 300 cells of conditions 0, 2 and 5; condition 5 has one cell."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(1.0, 2.0, GENES), (300, GENES)).astype(np.float32)
    library = counts.sum(axis=1, keepdims=True) * 1.3
    x_log = np.log1p(counts / library * 1e4).astype(np.float32)
    condition = rng.choice([0, 2], 300)
    condition[117] = 5
    return x_log, counts, condition


def same(a, b, rtol=1e-12):
    np.testing.assert_array_equal(a.condition, b.condition)
    np.testing.assert_array_equal(a.n, b.n)
    np.testing.assert_array_equal(a.detected, b.detected)
    for name in ("count_sum", "mean", "variance", "detection_rate"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=0, err_msg=name)


def test_hand_worked_numbers():
    x = np.array([[0.0, 1.0], [3.0, 1.0], [2.0, 5.0]], np.float32)
    counts = np.array([[0, 1], [7, 1], [4, 9]], np.float32)
    bulk = Pseudobulk.of(x, counts, np.array([4, 4, 1]))
    assert bulk.condition.tolist() == [1, 4]
    assert bulk.n.tolist() == [1, 2]
    assert bulk.count_sum.tolist() == [[4, 9], [7, 2]]
    assert bulk.mean.tolist() == [[2, 5], [1.5, 1]]
    assert bulk.variance[1].tolist() == [4.5, 0]  # (1.5**2 + 1.5**2) / (2 - 1)
    assert np.isnan(bulk.variance[0]).all()
    assert bulk.detection_rate.tolist() == [[1, 1], [0.5, 1]]


def test_merge_by_hand():
    a = Pseudobulk.of(np.array([[0.0], [3.0]], np.float32), None, np.array([0, 0]))
    b = Pseudobulk.of(np.array([[6.0]], np.float32), None, np.array([0]))
    merged = a.merge(b)
    assert merged.n.tolist() == [3]
    assert merged.mean.tolist() == [[3.0]]
    assert merged.variance.tolist() == [[9.0]]  # 9 + 0 + 9 over 2
    assert merged.count_sum[0, 0] == pytest.approx(0 + np.expm1(3) + np.expm1(6), rel=1e-15)


@pytest.mark.parametrize("with_counts", [True, False])
def test_equals_plain_numpy(cells, with_counts):
    x_log, counts, condition = cells
    bulk = Pseudobulk.of(x_log, counts if with_counts else None, condition)
    assert bulk.condition.tolist() == [0, 2, 5]
    for i, code in enumerate(bulk.condition):
        x = x_log[condition == code].astype(np.longdouble)
        summed = counts[condition == code].astype(np.longdouble) if with_counts else np.expm1(x)
        np.testing.assert_allclose(bulk.mean[i], x.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(bulk.count_sum[i], summed.sum(axis=0), rtol=1e-13)
        np.testing.assert_array_equal(bulk.detection_rate[i], (x > 0).mean(axis=0).astype(float))
        if len(x) > 1:
            np.testing.assert_allclose(bulk.variance[i], x.var(axis=0, ddof=1), rtol=1e-12)
    assert np.isnan(bulk.variance[2]).all()


@pytest.mark.parametrize("size", [1, 7, 64, 299])
def test_chunking_order_and_merging_do_not_matter(cells, size):
    x_log, counts, condition = cells
    rng = np.random.default_rng(size)
    order = rng.permutation(len(condition))
    parts = [
        Pseudobulk.of(x_log[rows], counts[rows], condition[rows])
        for rows in np.split(order, range(size, len(order), size))
    ]
    whole = Pseudobulk.of(x_log, counts, condition)
    same(merge_pseudobulks(parts, GENES, "counts"), whole)
    while len(parts) > 1:  # merged as a tree, from the end
        parts = [
            parts.pop().merge(parts.pop()) if len(parts) > 1 else parts.pop() for _ in range((len(parts) + 1) // 2)
        ]
    same(parts[0], whole)


def test_variance_survives_a_mean_that_dwarfs_it():
    """The textbook formula E[x^2] - E[x]^2 in float32, and nearly so in float64, would lose these digits."""
    rng = np.random.default_rng(3)
    x = (8.0 + 1e-3 * rng.normal(size=(5000, 2))).astype(np.float32)
    parts = [Pseudobulk.of(x[i : i + 100], None, np.zeros(100, int)) for i in range(0, 5000, 100)]
    oracle = x.astype(np.longdouble).var(axis=0, ddof=1)
    # a mean near 8 is rounded at 1e-15 of itself, which is 1e-11 of the differences of 1e-4 between means of parts
    np.testing.assert_allclose(merge_pseudobulks(parts, 2, "log1p_cp10k").variance[0], oracle, rtol=1e-11)


def test_the_empty_one_is_neutral(cells):
    whole = Pseudobulk.of(*cells)
    empty = Pseudobulk.empty(GENES, "counts")
    same(empty.merge(whole), whole, rtol=0)
    same(whole.merge(empty), whole, rtol=0)
    assert len(empty.merge(empty).n) == 0


def test_arrays_round_trip_without_objects(cells, tmp_path):
    whole = Pseudobulk.of(*cells)
    np.savez(tmp_path / "a.npz", allow_pickle=False, **whole.to_arrays())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        back = Pseudobulk.from_arrays(arrays)
    same(back, whole, rtol=0)
    assert back.scale == "counts"
    with pytest.raises(DataError, match="m2"):
        Pseudobulk.from_arrays({k: v for k, v in whole.to_arrays().items() if k != "m2"})


def test_unlike_pseudobulks_do_not_merge():
    x = np.ones((2, 3), np.float32)
    code = np.zeros(2, int)
    with pytest.raises(DataError, match="2 genes"):
        Pseudobulk.of(x, None, code).merge(Pseudobulk.of(x[:, :2], None, code))
    with pytest.raises(DataError, match="'counts'"):
        Pseudobulk.of(x, None, code).merge(Pseudobulk.of(x, x, code))


def test_bad_cells_are_refused():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="same cells"):
        Pseudobulk.of(x, None, np.zeros(3, int))
    with pytest.raises(ValueError, match="same cells"):
        Pseudobulk.of(x, x[:, :2], np.zeros(2, int))
    x[1, 2] = np.inf
    with pytest.raises(DataError, match="gene 2"), np.errstate(invalid="ignore"):
        Pseudobulk.of(x, None, np.zeros(2, int))


CONDITIONS = pd.DataFrame(
    {
        "condition": ["control", "A", "B | x"],
        "dose": [np.nan, 0.5, 1.0],
        "cell_type": ["x", None, "y"],
        "seen": [True, False, True],
    }
)


def small_bulk():
    x = np.array([[0, 1], [2, 1], [4, 3]], np.float32)
    return Pseudobulk.of(x, x, np.array([0, 0, 2]))


def test_file_has_what_was_asked(tmp_path):
    path = write_pseudobulk(tmp_path / "deep" / "bulk.h5ad", small_bulk(), CONDITIONS, ["g1", "g2"], {"seed": 3})
    back = ad.read_h5ad(path)
    assert back.obs_names.tolist() == ["control", "A", "B | x"]
    assert back.var_names.tolist() == ["g1", "g2"]
    assert back.X.tolist() == [[2, 2], [0, 0], [4, 3]]
    assert back.obs["n_cells"].tolist() == [2, 0, 1]
    assert back.obs["why_missing"].tolist() == ["", "no cells", "one cell has no variance"]
    assert back.obs["cell_type"].isna().tolist() == [False, True, False]
    assert back.obs["seen"].tolist() == [True, False, True]
    nan = np.nan
    np.testing.assert_array_equal(back.obs["dose"], [nan, 0.5, 1.0])
    np.testing.assert_array_equal(back.layers["mean_log1p_cp10k"], [[1, 1], [nan, nan], [4, 3]])
    np.testing.assert_array_equal(back.layers["variance"], [[2, 0], [nan, nan], [nan, nan]])
    np.testing.assert_array_equal(back.layers["detection_rate"], [[0.5, 1], [nan, nan], [1, 1]])
    assert json.loads(back.uns["gensim"]) == {"seed": 3, "x": "sum of counts"}
    assert [p.name for p in path.parent.iterdir()] == ["bulk.h5ad"]


def test_file_refuses_what_does_not_fit(tmp_path):
    def write(name="b.h5ad", conditions=CONDITIONS, genes=("g1", "g2")):
        return write_pseudobulk(tmp_path / name, small_bulk(), conditions, genes, {})

    with pytest.raises(DataError, match=r"\.h5ad"):
        write("b.csv")
    with pytest.raises(DataError, match="2 genes and 3 names"):
        write(genes=("a", "b", "c"))
    with pytest.raises(DataError, match="condition 2 and the table has 2 rows"):
        write(conditions=CONDITIONS[:2])
    with pytest.raises(DataError, match="a label for every row"):
        write(conditions=CONDITIONS.assign(condition=None))
    with pytest.raises(DataError, match="'n_cells'"):
        write(conditions=CONDITIONS.assign(n_cells=1))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b.h5ad").mkdir()
    with pytest.raises(StoreError, match=r"b\.h5ad"):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["b.h5ad"]


def test_rows_of_one_condition_are_told_apart(tmp_path):
    path = write_pseudobulk(tmp_path / "b.h5ad", small_bulk(), CONDITIONS.assign(condition="same"), ("g1", "g2"), {})
    bulk = ad.read_h5ad(path)
    assert list(bulk.obs_names) == ["same", "same (2)", "same (3)"][: len(CONDITIONS)]
    assert set(bulk.obs["condition"]) == {"same"}
