"""Transport distances by hand and against closed forms of Gaussians."""

import math

import numpy as np
import ot
import pytest

from gensim.errors import NotComputable
from gensim.metrics import optimal_transport
from gensim.metrics.comparison import Comparison, Side
from gensim.ot.wasserstein import sinkhorn_divergence, sliced_wasserstein1, wasserstein, wasserstein1_by_column

X = np.array([[0.0, 0.0], [1.0, 0.0]])
Y = np.array([[0.0, 3.0], [1.0, 4.0]])


def test_wasserstein_by_hand():
    # The first to the first and the second to the second: distances 3 and 4.
    assert wasserstein(X, Y, 1) == pytest.approx(3.5)
    assert wasserstein(X, Y, 2) == pytest.approx(math.sqrt((9 + 16) / 2))
    assert wasserstein(X, X[::-1], 1) == pytest.approx(0.0, abs=1e-12)


def test_numbers_of_cells_may_differ():
    # Half of the single cell goes 1 and half goes 3.
    assert wasserstein(np.array([[0.0]]), np.array([[1.0], [-3.0]]), 1) == pytest.approx(2.0)


def test_shifted_copies_are_as_far_apart_as_the_shift():
    x = np.random.default_rng(0).normal(size=(60, 3))
    shift = np.array([1.0, 2.0, 2.0])
    for order in (1, 2):
        assert wasserstein(x, x + shift, order) == pytest.approx(3.0)
    # The entropic plan of shifted copies is that of the copy with itself: what remains is the squared shift.
    assert sinkhorn_divergence(x, x + shift, 0.5) == pytest.approx(9.0, rel=1e-3)
    # In the plane |cos| of a random direction has mean 2 / pi.
    plane = sliced_wasserstein1(x[:, :2], x[:, :2] + [3.0, 4.0], 4000, 0)
    assert plane == pytest.approx(5 * 2 / math.pi, rel=0.03)


def test_sinkhorn_divergence_by_hand():
    # One cell each has one plan: OT is the cost, and nothing is to be moved within.
    assert sinkhorn_divergence(X[:1], Y[:1], 1.0) == pytest.approx(9.0)
    # With two cells a distance d apart on both sides, p on the diagonal of the plan maximises the entropy:
    # cost (1/2 - p) * 2 * d^2, so p / (1/2 - p) = exp(d^2 / reg); OT(x, x) = d^2 (1 - 2p) + reg KL.
    d2, reg = 1.0, 0.7
    p = 0.5 / (1 + math.exp(-d2 / reg))
    own = d2 * (1 - 2 * p) + reg * 2 * (p * math.log(4 * p) + (0.5 - p) * math.log(4 * (0.5 - p)))
    # All of X is exactly at one place of a sample that holds X's first cell alone: every plan is the independent one.
    cross = 0.5 * d2
    assert sinkhorn_divergence(X, X[:1], reg) == pytest.approx(cross - own / 2, rel=1e-4)
    assert sinkhorn_divergence(X, X, reg) == pytest.approx(0.0, abs=1e-12)


def test_sinkhorn_divergence_of_gaussians_lies_between_its_limits():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(200, 2)), rng.normal(2.0, 2.0, size=(200, 2))
    means = float(np.square(x.mean(0) - y.mean(0)).sum())
    assert sinkhorn_divergence(x, y, 1e4) == pytest.approx(means, rel=1e-2)
    assert means < sinkhorn_divergence(x, y, 1.0) < wasserstein(x, y, 2) ** 2


def test_columns_are_each_by_themselves():
    # Sorted: 0, 1 against 3, 4 is 3; 0, 0 against 3, 4 is 3.5.
    np.testing.assert_allclose(wasserstein1_by_column(np.c_[[0.0, 1], [0.0, 0]], np.c_[[4.0, 3], [4.0, 3]]), [3, 3.5])


def comparison(real, predicted, sigma2=2.0, seed=0):
    return Comparison(*(Side(s, s, None, s[:0]) for s in map(np.float32, (real, predicted))), sigma2, seed)


def test_at_most_so_many_cells_are_drawn_by_seed(monkeypatch):
    monkeypatch.setattr(optimal_transport, "MOST_CELLS", 20)
    rng = np.random.default_rng(2)
    real, predicted = rng.normal(size=(50, 2)), rng.normal(size=(10, 2))
    values = [optimal_transport.wasserstein_pca(comparison(real, predicted, seed=s), 1) for s in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    # Below the limit all cells are used, whatever the seed.
    few = [optimal_transport.wasserstein_pca(comparison(real[:20], predicted, seed=s), 1) for s in (0, 1)]
    assert few == pytest.approx([wasserstein(np.float32(real[:20]), np.float32(predicted), 1)] * 2)


def test_regularisation_follows_the_spread_of_the_real_cells():
    x, y = np.float32(X), np.float32(Y)
    found = optimal_transport.sinkhorn_divergence_pca(comparison(x, y, sigma2=7.0))
    assert found == pytest.approx(sinkhorn_divergence(x, y, 0.7))
    with pytest.raises(NotComputable, match="no median distance above 0"):
        optimal_transport.sinkhorn_divergence_pca(comparison(x, y, sigma2=None))
    far = optimal_transport.sliced_wasserstein1_pca(comparison(x, y))
    assert far == optimal_transport.sliced_wasserstein1_pca(comparison(x, y))
    assert 0 < far < wasserstein(x, y, 1)


def test_directions_are_drawn_without_the_generator_that_threads_share(monkeypatch):
    """POT seeds one of all threads; another thread may draw from it in between."""
    x, y = (np.random.default_rng(seed).normal(size=(20, 5)) for seed in range(2))
    expected = ot.sliced_wasserstein_distance(x, y, n_projections=30, p=1, seed=7)
    monkeypatch.setattr(ot.backend.NumpyBackend, "rng_", None)
    assert sliced_wasserstein1(x, y, 30, 7) == expected
