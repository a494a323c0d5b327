"""Distances of single genes by hand and against SciPy."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from gensim.metrics import marginal_distances
from gensim.metrics.marginal_distances import mean_kolmogorov_smirnov, mean_wasserstein1


def test_by_hand():
    x, y = np.c_[[0.0, 1.0], [0.0, 0.0]], np.c_[[0.5, 3.0], [0.0, 0.0]]
    # Gene 0: sorted differences 0.5 and 2. Gene 1: none.
    assert mean_wasserstein1(x, y) == pytest.approx(1.25 / 2)
    # Gene 0: half of x is below 0.5 and all of it below 3, so the largest gap is 1/2.
    assert mean_kolmogorov_smirnov(x, y) == pytest.approx(0.5 / 2)


def test_against_scipy_with_ties(monkeypatch):
    monkeypatch.setattr(marginal_distances, "GENES_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    x, y = rng.poisson(1.0, size=(30, 6)).astype(np.float32), rng.poisson(1.5, size=(21, 6)).astype(np.float32)
    columns = list(zip(x.T, y.T, strict=True))
    assert mean_wasserstein1(x, y) == pytest.approx(np.mean([wasserstein_distance(a, b) for a, b in columns]), rel=1e-6)
    assert mean_kolmogorov_smirnov(x, y) == pytest.approx(np.mean([ks_2samp(a, b).statistic for a, b in columns]))
