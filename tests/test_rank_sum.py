"""The rank-sum test: pairs counted by hand, SciPy on every kind of tie, values that share bits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import mannwhitneyu

from gensim.metrics.distances import NotComputable
from gensim.metrics.rank_sum import ELEMENTS_AT_ONCE, rank_sum_p

FEW_VALUES = st.sampled_from(np.float32([-2, -0.5, -0.0, 0.0, 1e-38, 0.5, 1, 1 + 2**-23, 2, 9]).tolist())


def scipy_p(x, controls):
    with np.errstate(all="ignore"):
        return mannwhitneyu(x.astype(float), controls.astype(float), method="asymptotic", axis=0).pvalue


def test_pairs_counted_by_hand():
    # x = (1, 3), c = (0, 1, 2): x is larger in 1 + 3 pairs and equal in one, so U = 4.5 of 6; one tie of 2.
    variance = 2 * 3 / 12 * (6 - 6 / (5 * 4))
    p = math.erfc((4.5 - 3 - 0.5) / math.sqrt(variance) / math.sqrt(2))
    found = rank_sum_p(np.float32([[1], [3]]), np.float32([[0], [1], [2]]))
    np.testing.assert_allclose(found, [p], rtol=1e-12)


@settings(deadline=None, max_examples=100)
@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_scipy_agrees_on_ties_signs_zeros_and_neighbouring_values(data, n, m):
    x, controls = (data.draw(arrays(np.float32, (size, 3), elements=FEW_VALUES)) for size in (n, m))
    expected = scipy_p(x, controls)
    constant = np.ptp(np.concatenate([x, controls]), axis=0) == 0
    expected[constant] = 1.0  # no evidence, whatever SciPy's version makes of 0 / 0
    np.testing.assert_allclose(rank_sum_p(x, controls), expected, rtol=1e-12)


def test_scipy_agrees_across_blocks_of_genes():
    rng = np.random.default_rng(0)
    n_genes = 3 * ELEMENTS_AT_ONCE // 300 + 1
    x, controls = (np.log1p(rng.poisson(1.0, (n, n_genes))).astype(np.float32) for n in (100, 200))
    x[:, -1] += 1
    np.testing.assert_allclose(rank_sum_p(x, controls), scipy_p(x, controls), rtol=1e-12)
    assert rank_sum_p(x, controls)[-1] < 1e-10


def test_more_cells_than_a_block_holds():
    cells = np.random.default_rng(1).normal(size=(ELEMENTS_AT_ONCE + 1, 2)).astype(np.float32)
    np.testing.assert_allclose(rank_sum_p(cells, cells[:7]), scipy_p(cells, cells[:7]), rtol=1e-12)


def test_the_same_value_everywhere_is_no_evidence_and_no_gene_is_no_value():
    cells = np.full((4, 2), 3, np.float32)
    assert rank_sum_p(cells, cells[:1]).tolist() == [1.0, 1.0]
    assert rank_sum_p(cells[:1], cells[:1]).tolist() == [1.0, 1.0]
    assert rank_sum_p(cells[:, :0], cells[:, :0]).shape == (0,)


def test_values_in_float64_are_compared_as_float32():
    x, controls = np.float64([[0.1], [0.2]]), np.float32([[0.1], [0.05]])
    assert rank_sum_p(x, controls) == rank_sum_p(x.astype(np.float32), controls)


def test_a_side_without_cells_has_no_test():
    with pytest.raises(NotComputable, match="3 cells against 0 control cells"):
        rank_sum_p(np.zeros((3, 2), np.float32), np.zeros((0, 2), np.float32))
