"""Variances and zeros of single genes: numbers by hand, scaled cells, and genes that must not count."""

import numpy as np
import pytest

from gensim.metrics.distances import NotComputable
from gensim.metrics.marginals import GENES_AT_ONCE, GeneMarginals, variance_ratio, zero_fraction_error

X = np.array([[0, 1, 2], [0, 3, 4], [6, 5, 0], [2, 7, 0]], dtype=np.float32)


def ratio(x, y):
    return variance_ratio(GeneMarginals.of(x), GeneMarginals.of(y))


def zeros(x, y):
    return zero_fraction_error(GeneMarginals.of(x), GeneMarginals.of(y))


def test_marginals_by_hand():
    found = GeneMarginals.of(X)
    np.testing.assert_array_equal(found.mean, [2, 4, 1.5])
    np.testing.assert_allclose(found.variance, [24 / 3, 20 / 3, 11 / 3], rtol=1e-14)
    np.testing.assert_array_equal(found.detecting, [2, 4, 2])


def test_variances_of_more_genes_than_fit_at_once_are_numpys():
    x = (50 + np.random.default_rng(0).normal(size=(7, GENES_AT_ONCE + 3))).astype(np.float32)
    # float64 sums of 7 float32 values: rounding alone, though the mean is 50 times the spread.
    np.testing.assert_allclose(GeneMarginals.of(x).variance, np.float64(x).var(axis=0, ddof=1), rtol=1e-12)


def test_scaled_cells_have_the_square_of_the_scale():
    x = np.random.default_rng(1).gamma(2.0, size=(40, 9)).astype(np.float32)
    centre = x.mean(axis=0)
    # The cells are float32, so their spread about the mean is known to about 1e-6 of it.
    assert ratio(x, centre + 0.5 * (x - centre)) == pytest.approx(0.25, rel=1e-5)
    assert ratio(x, x + 3) == pytest.approx(1.0, rel=1e-5)
    assert ratio(x, np.repeat(centre[None], 5, axis=0)) == pytest.approx(0.0, abs=1e-10)


def test_variances_are_unbiased_for_any_number_of_cells():
    x = np.float32([[1], [2], [4], [9]])
    # Twice the same cells: sums of squares double, and 3 becomes 7.
    assert ratio(x, np.concatenate([x, x])) == pytest.approx(2 * 3 / 7, rel=1e-12)


def test_the_median_is_over_genes_that_the_real_cells_detect():
    rng = np.random.default_rng(2)
    x = rng.normal(5, 1, size=(200, 6)).astype(np.float32)
    y = x * np.sqrt(np.float32([1, 2, 3, 100, 100, 100]))
    x[3:, 3:] = 0  # 3 cells of 200 are 1.5 %
    assert ratio(x, y) == pytest.approx(2.0, rel=1e-5)
    x[3, 3:5] = 5  # 4 cells are 2 %
    x[:, 3] = 5  # detected, but constant
    counted = [np.float64(y[:, g]).var() / np.float64(x[:, g]).var() for g in (0, 1, 2, 4)]
    assert ratio(x, y) == pytest.approx(np.median(counted), rel=1e-6)
    few = np.zeros((10, 2), dtype=np.float32)
    few[:3, 0], few[:2, 1] = [1, 2, 3], [1, 2]  # of 10 cells 2 % is less than one, so 3 are needed
    assert ratio(few, few * np.float32([2, 10])) == pytest.approx(4.0, rel=1e-12)


def test_shares_of_zeros_by_hand():
    y = np.array([[0, 0, 0], [1e-6, -1, 2]], dtype=np.float32)
    # shares: 1/2, 0, 1/2 in X; 1/2, 1/2, 1/2 in y, where only exact zeros count
    assert zeros(X, y) == pytest.approx((0 + 0.5 + 0) / 3)
    assert zeros(X, np.zeros((5, 3), np.float32)) == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert zeros(X, np.concatenate([X, X])) == 0.0


def test_what_cannot_be_computed_says_why():
    with pytest.raises(NotComputable, match="predicted population has 1 cell"):
        ratio(X, X[:1])
    with pytest.raises(NotComputable, match="real population has 1 cell"):
        ratio(X[:1], X)
    with pytest.raises(NotComputable, match="no gene varies and is detected in at least 3 of the 4 real cells"):
        ratio(np.zeros_like(X), X)
