"""The map between Gaussians against its closed forms, and the coupling that follows it."""

import numpy as np
import pytest

from gensim.ot.coupling import ExactCoupling
from gensim.ot.gaussian import GaussianCoupling, GaussianMap


def test_the_map_on_a_line_scales_and_shifts():
    """T(z) = m_1 + s_1/s_0 (z - m_0)."""
    z = np.random.default_rng(0).normal(size=(500, 1))
    fitted = GaussianMap.fit(z, 5 + 3 * z)
    # In one dimension nothing is shrunk; the ridge is 1e-6 of the variance.
    np.testing.assert_allclose(fitted(z), 5 + 3 * z, atol=1e-4)


def test_a_linear_map_that_is_symmetric_and_positive_is_found():
    """z_1 = A z_0 + b with such an A is optimal (the gradient of a convex function), so it is what is fitted."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 4))
    A, b = root @ root.T + np.eye(4), np.array([1.0, -2.0, 0.0, 3.0])
    z_0 = rng.normal(size=(200_000, 4)) * [1, 2, 0.5, 1]
    fitted = GaussianMap.fit(z_0, z_0 @ A + b)
    # Ledoit-Wolf shrinks by some 1/N of the squared kurtosis over the spread of eigenvalues: 1e-4 of the covariance.
    np.testing.assert_allclose(fitted.A, A, atol=0.01 * np.abs(A).max())


def test_the_map_carries_mean_and_covariance():
    rng = np.random.default_rng(2)
    z_0 = rng.normal(size=(20_000, 3)) @ (rng.normal(size=(3, 3)) + 3 * np.eye(3)) + 1
    z_1 = rng.normal(size=(20_000, 3)) @ (rng.normal(size=(3, 3)) + 3 * np.eye(3)) - 2
    moved = GaussianMap.fit(z_0, z_1)(z_0)
    np.testing.assert_allclose(moved.mean(0), z_1.mean(0), atol=1e-9)
    largest = np.abs(np.cov(z_1.T)).max()
    # Shrinkage at 20,000 cells is below 0.1 %, larger for the small eigenvalues of either side.
    np.testing.assert_allclose(np.cov(moved.T), np.cov(z_1.T), atol=0.005 * largest)


def test_few_cells_in_many_dimensions_are_shrunk():
    """20 cells in 50 dimensions from one law: the sample covariances are singular, the map must stay near identity."""
    rng = np.random.default_rng(3)
    z_0, z_1 = rng.normal(size=(20, 50)), rng.normal(size=(20, 50))
    eigenvalues = np.linalg.eigvalsh(GaussianMap.fit(z_0, z_1).A)
    # Without shrinkage the eigenvalues reach from 1e-3 to 1e3 (the ridge); with it, all are around 1.
    assert 0.5 < eigenvalues.min() < eigenvalues.max() < 2


@pytest.mark.parametrize(("z_0", "z_1"), [(np.ones((1, 3)), np.eye(3)), (np.ones((4, 3)), np.zeros((5, 3)))])
def test_cells_without_any_variance_are_paired(z_0, z_1):
    pairs = GaussianCoupling()(z_0, z_1, np.random.default_rng(4))
    assert pairs.target.tolist() == list(range(len(z_1)))
    assert np.isfinite(GaussianMap.fit(z_0, z_1)(z_0)).all()


def test_the_coupling_finds_the_pairs_of_a_linear_map():
    """Targets are moved sources in another order: optimal transport pairs them again, and so does the map."""
    rng = np.random.default_rng(5)
    z_0 = rng.normal(size=(300, 3))
    order = rng.permutation(300)
    z_1 = (z_0 * [2, 1, 0.5] + 4)[order]
    pairs = GaussianCoupling()(z_0, z_1, rng)
    assert pairs.target.tolist() == list(range(300))
    agreement = np.mean(pairs.source == order)
    # Shrinkage at 300 cells moves a target past its neighbour now and then.
    assert agreement > 0.9
    assert ExactCoupling()(z_0, z_1, rng).source.tolist() == order.tolist()
