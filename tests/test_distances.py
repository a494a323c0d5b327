"""Energy distance and MMD against hand-worked numbers, closed forms and plain loops."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist

from gensim.errors import DataError
from gensim.metrics.distances import NotComputable, energy_distance, median_squared_distance, mmd2_rbf
from gensim.metrics.pairs import DISTANCE, GaussianKernels, Sample, squared_distances

X = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
Y = np.array([[0.0, 0.0], [0.0, 4.0]], dtype=np.float32)


def pairs_between(x, y, function):
    return np.mean([[function(np.float64(a) - np.float64(b)) for b in y] for a in x])


def pairs_within(x, function):
    n = len(x)
    return np.mean([function(np.float64(x[i]) - np.float64(x[j])) for i in range(n) for j in range(n) if i != j])


def oracle_energy(x, y):
    norm = lambda d: math.sqrt(math.fsum(d * d))  # noqa: E731
    return 2 * pairs_between(x, y, norm) - pairs_within(x, norm) - pairs_within(y, norm)


def oracle_mmd2(x, y, gamma):
    kernel = lambda d: math.exp(-gamma * math.fsum(d * d))  # noqa: E731
    return pairs_within(x, kernel) + pairs_within(y, kernel) - 2 * pairs_between(x, y, kernel)


class Slices:
    """A view that only knows its length and slices, and remembers the largest one."""

    def __init__(self, x):
        self.x, self.largest = x, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        self.largest = max(self.largest, len(self.x[rows]))
        return self.x[rows]


def test_energy_distance_by_hand():
    # between: 0, 4, 5, 3 (mean 3); within X: 5; within Y: 4; 2*3 - 5 - 4
    assert energy_distance(X, Y) == pytest.approx(-3.0, abs=1e-12)


def test_mmd_by_hand():
    # sigma2 = 12.5 and one factor: gamma = 0.04; squared distances between 0, 16, 25, 9; within 25 and 16
    value, gammas = mmd2_rbf(X, Y, sigma2=12.5, factors=(1.0,))
    between = (1 + math.exp(-0.64) + math.exp(-1) + math.exp(-0.36)) / 4
    assert gammas == pytest.approx((0.04,))
    assert value == pytest.approx(math.exp(-1) + math.exp(-0.64) - 2 * between, abs=1e-12)


@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_any_block_gives_the_oracle(block, device):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(1, 2, size=(10, 3)).astype(np.float32)
    assert energy_distance(x, y, block=block, device=device) == pytest.approx(oracle_energy(x, y), rel=1e-10)
    value, gammas = mmd2_rbf(x, y, block=block, device=device)
    sigma2 = np.median([np.sum((np.float64(x[i]) - x[j]) ** 2) for i in range(7) for j in range(i)])
    assert gammas == pytest.approx([1 / sigma2, 1 / (2 * sigma2), 1 / (4 * sigma2)])
    assert value == pytest.approx(np.mean([oracle_mmd2(x, y, g) for g in gammas]), rel=1e-10)


def test_many_tiles_give_what_scipy_gives(device):
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(401, 5)), rng.normal(0.3, 1.5, size=(270, 5))
    x[17] = x[399] = y[131] = x[5]  # a few cells that coincide, in different tiles
    expected = 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()
    assert energy_distance(x, y, device=device) == pytest.approx(expected, rel=1e-12)
    squared = [f(*c, "sqeuclidean") for f, c in ((pdist, (x,)), (pdist, (y,)), (cdist, (x, y)))]
    xx, yy, xy = (np.mean([np.exp(-g * s).mean() for g in (0.2, 0.1, 0.05)]) for s in squared)
    assert mmd2_rbf(x, y, sigma2=5.0, device=device).value == pytest.approx(xx + yy - 2 * xy, rel=1e-12)


@pytest.mark.parametrize("gammas", [(1.0,), (2.0, 1.0, 0.5, 0.1, 0.01, 0.005), (0.25, 4.0, 0.25), (3.0, 0.7)])
def test_kernels_that_share_an_exponential_equal_those_that_do_not(gammas):
    squared = np.random.default_rng(9).exponential(size=(20, 30)) * 10
    expected = np.mean([np.exp(-g * squared).sum() for g in gammas])
    assert GaussianKernels(gammas).sum_(torch.from_numpy(squared.copy())) == pytest.approx(expected, rel=1e-13)


def test_means_within_a_sample_are_computed_once_per_function():
    rng = np.random.default_rng(10)
    x, y, z = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)), rng.normal(size=(25, 2))
    shared = Sample(x)
    first = [energy_distance(shared, y), mmd2_rbf(shared, y, sigma2=1.0).value, mmd2_rbf(shared, y, sigma2=2.0).value]
    assert first == [energy_distance(x, y), *(mmd2_rbf(x, y, sigma2=s).value for s in (1.0, 2.0))]
    assert len(shared.known) == 3
    shared.known[DISTANCE] += 1.0
    assert energy_distance(z, shared) == pytest.approx(energy_distance(z, x) - 1.0)


def test_tensors_and_slicing_views_are_cells_too():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(40, 4)).astype(np.float32)
    view = Slices(x)
    assert energy_distance(view, torch.from_numpy(y), block=8) == pytest.approx(energy_distance(x, y), rel=1e-10)
    assert view.largest == 8


def test_shifted_gaussians_have_the_closed_form():
    # X - Y ~ N(m, 2): its mean absolute value is 2/sqrt(pi) exp(-m^2/4) + m erf(m/2)
    m, rng = 1.0, np.random.default_rng(2)
    x, y = rng.normal(size=(1500, 1)), rng.normal(m, size=(1500, 1))
    expected = 2 * (2 / math.sqrt(math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)) - 4 / math.sqrt(math.pi)
    # Standard error is about 4 * 0.5 / sqrt(1500), 0.05.
    assert energy_distance(x, y, block=1000) == pytest.approx(expected, abs=0.1)


def test_same_population_gives_zero_on_average():
    rng = np.random.default_rng(3)
    energies, mmds = [], []
    for _ in range(300):
        x, y = rng.normal(size=(5, 3)), rng.normal(size=(8, 3))
        energies.append(energy_distance(x, y))
        mmds.append(mmd2_rbf(x, y, sigma2=3.0).value)
    for values in (energies, mmds):
        # The forms with a diagonal would be off by 0.3 or more of a mean distance (or kernel), tens of errors.
        assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))


def test_tiny_differences_between_large_values_survive():
    rng = np.random.default_rng(4)
    x = (100 + 1e-4 * rng.normal(size=(20, 5))).astype(np.float32)
    y = (100 + 1e-4 + 1e-4 * rng.normal(size=(15, 5))).astype(np.float32)
    assert energy_distance(x, y) == pytest.approx(oracle_energy(x, y), rel=1e-9)


def test_tiny_differences_inside_far_clusters_survive():
    rng = np.random.default_rng(5)
    sign = np.where(np.arange(20) % 2, 100.0, -100.0)[:, None]
    x = (sign + 1e-4 * rng.normal(size=(20, 5))).astype(np.float32)
    # Cells against shifted copies of themselves: the large distances cancel, what is left is of the size of the shift.
    y = (x + np.float32(2e-4)).astype(np.float32)
    assert energy_distance(x, y) == pytest.approx(oracle_energy(x, y), abs=1e-11)


def test_small_differences_of_one_far_cell_survive():
    rng = np.random.default_rng(7)
    x, y = 30 * rng.normal(size=(30, 3)), 30 * rng.normal(size=(20, 3))
    x[4] = 1e4 * rng.normal(size=3)
    y[9] = x[4] + rng.normal(size=3)
    # |a|^2 + |b|^2 - 2 a.b would be off by about 1e-8 there, though the distance is not small beside the other cells.
    squared = squared_distances(torch.from_numpy(x), torch.from_numpy(y))
    assert float(squared[4, 9]) == pytest.approx(np.square(x[4] - y[9]).sum(), rel=1e-11)


def test_identical_cells_have_distance_exactly_zero():
    x = np.full((6, 3), 123.456, dtype=np.float32)
    assert energy_distance(x, x[:4]) == 0.0


def test_median_of_many_cells_is_of_every_kth():
    x = np.random.default_rng(6).normal(size=(4001, 2)).astype(np.float32)
    assert median_squared_distance(x) == median_squared_distance(x[::3])
    few = np.array([[0.0], [1.0], [3.0]])
    assert median_squared_distance(few) == pytest.approx(4.0)  # of 1, 4, 9


def test_what_cannot_be_computed_says_why():
    with pytest.raises(NotComputable, match="second population has 1 cell"):
        energy_distance(X, Y[:1])
    with pytest.raises(NotComputable, match="first population has 1 cell"):
        mmd2_rbf(X[:1], Y, sigma2=1.0)
    with pytest.raises(NotComputable, match="at least 2 cells, got 1"):
        median_squared_distance(X[:1])
    with pytest.raises(NotComputable, match="at least half of the real cells are identical"):
        mmd2_rbf(np.zeros((4, 2)), Y)


def test_bad_cells_are_refused():
    with pytest.raises(DataError, match="2 and 3 dimensions"):
        energy_distance(X, np.zeros((2, 3)))
    with pytest.raises(DataError, match="1 of the cells 0 to 1 have values that are not finite"):
        energy_distance(X, np.array([[0.0, np.nan], [0.0, 1.0]]))
    with pytest.raises(DataError, match="without cells"):
        energy_distance(X, Y[:0])
