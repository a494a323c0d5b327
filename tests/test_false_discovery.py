"""False discovery rates: worked out by hand, and SciPy's."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from gensim.metrics.false_discovery import benjamini_hochberg


def test_rates_by_hand():
    # p = (.01, .02, .03, .5) -> 4/1 * .01, 4/2 * .02, 4/3 * .03 are all .04; in the order given.
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.5, 0.01, 0.03, 0.02])), [0.5, 0.04, 0.04, 0.04])
    # The second passes on its smaller rate to the first, and no rate is above 1.
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.03, 0.04, 0.9, 0.95])), [0.08, 0.08, 0.95, 0.95])
    assert benjamini_hochberg(np.array([0.2])).tolist() == [0.2]
    assert benjamini_hochberg(np.array([])).tolist() == []


@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_rates_are_those_of_scipy_with_and_without_ties(decimals):
    p = np.random.default_rng(0).beta(0.5, 3, size=500).round(decimals)
    np.testing.assert_array_equal(benjamini_hochberg(p), false_discovery_control(p, method="bh"))
