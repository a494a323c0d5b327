"""Scales are checked against what the numbers can be, and converted by the formula."""

import numpy as np
import pytest
from scipy import sparse

from gensim.data.scale import check_scale, to_log1p_cp10k
from gensim.errors import DataError

COUNTS = np.array([[1, 0, 3], [0, 2, 2]], dtype=np.float32)
LOGS = np.log1p(COUNTS * 1e4 / 4).astype(np.float32)
L = np.array([4, 4], dtype=np.float32)


def check(x, scale, **kwargs):
    check_scale(sparse.csr_matrix(np.asarray(x, dtype=np.float32)), scale, "file 'a'", ["c0", "c1", "c2"], **kwargs)


def test_good_values_pass():
    check(COUNTS, "counts")
    check(LOGS, "log1p_cp10k")
    check(LOGS[:, :2], "log1p_cp10k")  # some of the genes: the total is below 1e4


@pytest.mark.parametrize(
    ("x", "scale", "words"),
    [
        ([[1, 2], [1, np.nan]], "counts", ["not finite", "1 cells", "'c1'", "file 'a'"]),
        ([[1, 2], [np.inf, 1]], "log1p_cp10k", ["not finite", "'c1'"]),
        ([[1, 2], [-1, 1], [-2, 0]], "counts", ["negative", "2 cells", "'c1' with -1"]),
        ([[-0.5, 2]], "log1p_cp10k", ["negative", "'c0'"]),
        ([[1, 2], [1.5, 1]], "counts", ["not integers", "look like log1p; declare data.scale=log1p_cp10k", "1.5"]),
        ([[1, 200], [1.5, 1]], "counts", ["not integers", "raw counts"]),
        (COUNTS, "log1p_cp10k", ["every value is an integer", "declare data.scale=counts"]),
        ([[1, 2], [0, 0], [0, 0]], "counts", ["2 cells have no counts", "'c1'", "filter_cells"]),
        (np.log1p(COUNTS * 1e6 / 4), "log1p_cp10k", ["2 cells", "'c0'", "1e+06", "target_sum=1e4"]),
        ([[0.5, 300.0]], "log1p_cp10k", ["more than 10,000"]),
    ],
)
def test_wrong_values_are_refused_with_number_name_and_remedy(x, scale, words):
    with pytest.raises(DataError) as error:
        check(x, scale)
    assert [word for word in words if word not in str(error.value)] == []


def test_totals_just_above_the_tolerance_are_refused_and_just_below_pass():
    below, above = np.log1p([[5000.0, 5009.0]]), np.log1p([[5000.0, 5011.0]])
    check(below, "log1p_cp10k")
    with pytest.raises(DataError, match="more than 10,000"):
        check(above, "log1p_cp10k")


def test_cells_without_counts_pass_where_the_library_size_is_known():
    check([[1, 2], [0, 0]], "counts", allow_empty=True)


def test_unknown_scale_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'counts'"):
        to_log1p_cp10k(COUNTS, "count", L)


def test_counts_to_logs_by_hand():
    # 1 of 4 counts is 2500 per 10,000.
    np.testing.assert_allclose(to_log1p_cp10k(COUNTS, "counts", L)[0], np.log([2501, 1, 7501]), rtol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_conversion_keeps_kind_and_input(kind):
    x = kind(COUNTS)
    out = to_log1p_cp10k(x, "counts", L)
    assert type(out) is type(x)
    assert out.dtype == np.float32
    dense = out.toarray() if sparse.issparse(out) else out
    np.testing.assert_allclose(dense, LOGS, rtol=1e-6)
    np.testing.assert_array_equal(x.toarray() if sparse.issparse(x) else x, COUNTS)


def test_library_size_counts_genes_that_are_not_there():
    np.testing.assert_allclose(
        to_log1p_cp10k(COUNTS[:, :1], "counts", np.array([10, 10], dtype=np.float32)),
        np.log1p([[1000.0], [0.0]]),
        rtol=1e-6,
    )


def test_logs_stay():
    np.testing.assert_array_equal(to_log1p_cp10k(LOGS, "log1p_cp10k", L), LOGS)
