"""The two-sample test: 1/2 where nothing differs, 1 where all does, and which difference which classifier sees."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from gensim.metrics import two_sample
from gensim.metrics.distances import NotComputable
from gensim.metrics.two_sample import FOLDS, MOST_CELLS, _auc, c2st_auc_forest, c2st_auc_logistic

BOTH = (c2st_auc_logistic, c2st_auc_forest)


@pytest.fixture(autouse=True, scope="module")
def whole_forests():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_sample, "TREES", 30)
        yield


def normal(seed, n, n_genes=8, mean=0.0, spread=1.0):
    return np.random.default_rng(seed).normal(mean, spread, size=(n, n_genes)).astype(np.float32)


class Remembers(ClassifierMixin, BaseEstimator):
    """A classifier that says how large the first gene is, and keeps what it was shown."""

    shown: list = []  # noqa: RUF012

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.shown.append((x, y))
        return self

    def predict(self, x):
        raise NotImplementedError  # scikit-learn wants the method; an area under the curve is of probabilities

    def predict_proba(self, x):
        return np.stack([-x[:, 0], x[:, 0]], axis=1)


@pytest.fixture(autouse=True)
def nothing_shown():
    Remembers.shown.clear()


def test_the_area_is_the_share_of_pairs_in_order():
    x, y = normal(0, 40), normal(1, 40, mean=0.5)
    pairs = np.mean([b > a for a in x[:, 0] for b in y[:, 0]])
    assert _auc(Remembers(), x, y, 0) == pytest.approx(pairs, rel=1e-12)


def test_the_larger_side_is_drawn_down_and_folds_hold_equal_numbers():
    x, y = np.arange(900, dtype=np.float32)[:, None], -1 - np.arange(700, dtype=np.float32)[:, None]
    _auc(Remembers(), x, y, 3)
    assert len(Remembers.shown) == FOLDS
    cells, counts = np.unique(np.concatenate([shown[:, 0] for shown, _ in Remembers.shown]), return_counts=True)
    # Every cell teaches in all folds but the one in which it is judged, and none is drawn twice.
    assert (counts == FOLDS - 1).all()
    assert ((cells >= 0).sum(), (cells < 0).sum()) == (MOST_CELLS, MOST_CELLS)
    for _, labels in Remembers.shown:
        # Stratified: thirds of 500 cells differ by one at most.
        assert abs(np.bincount(labels) - MOST_CELLS * 2 / 3).max() <= 1
    assert cells[cells >= 0].max() > 800, "drawn from all cells, not from the first"


@pytest.mark.parametrize("auc", BOTH)
def test_other_means_are_told_always_and_the_same_population_never(auc):
    assert auc(normal(2, 60), normal(3, 60, mean=3.0), 0) > 0.999
    values = [auc(normal(10 + i, 40), normal(50 + i, 40), i) for i in range(4)]
    # An area of 40 against 40 has a standard error of sqrt(81 / (12 * 1600)) = 0.065; of four, 0.033.
    assert np.mean(values) == pytest.approx(0.5, abs=4 * 0.033)


def test_the_forest_sees_spread_that_the_logistic_regression_does_not():
    x, y = normal(4, 150), normal(5, 150, spread=2.5)
    # Standard error of 150 against 150 is 0.034.
    assert abs(c2st_auc_logistic(x, y, 0) - 0.5) < 4 * 0.034
    assert c2st_auc_forest(x, y, 0) > 0.9


def test_the_forest_sees_a_value_that_no_real_cell_has():
    rng = np.random.default_rng(6)
    x = (rng.poisson(0.7, size=(80, 5))).astype(np.float32)
    moved = np.where(x == 0, 0.05, x)[rng.permutation(80)]
    assert c2st_auc_forest(x, moved, 0) > 0.95


@pytest.mark.parametrize("auc", BOTH)
def test_the_seed_alone_decides(auc):
    x, y = normal(7, 30), normal(8, 45, mean=0.3)
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = auc(x, y, 5)
    assert auc(x, y, 5) == first
    assert len({auc(x, y, seed) for seed in (5, 6, 7)}) > 1
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("auc", BOTH)
def test_too_few_cells_say_so(auc):
    with pytest.raises(NotComputable, match="30 real and 9 predicted cells; a classifier needs 10 of each"):
        auc(normal(9, 30), normal(10, 9), 0)
