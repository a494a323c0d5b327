"""Precision, recall, density and coverage of cells on a line, counted by hand."""

import numpy as np
import pytest

from gensim.errors import NotComputable
from gensim.metrics import manifold
from gensim.metrics.manifold import coverage, density, precision, recall

REAL = np.array([[0.0], [1.0], [2.0], [10.0]], dtype=np.float32)
PREDICTED = np.array([[0.4], [3.5], [50.0]], dtype=np.float32)


@pytest.fixture
def two_neighbours(monkeypatch):
    monkeypatch.setattr(manifold, "NEIGHBOURS", 2)


def test_counts_by_hand(two_neighbours):
    # Radii of the real balls: 2, 1, 2, 9, so they are [-2, 2], [0, 2], [0, 4], [1, 19].
    assert precision(REAL, PREDICTED) == pytest.approx(2 / 3)
    # 0.4 lies in three of them, 3.5 in two, 50 in none.
    assert density(REAL, PREDICTED) == pytest.approx(5 / 3 / 2)
    assert coverage(REAL, PREDICTED) == pytest.approx(4 / 4)
    assert coverage(REAL, PREDICTED[1:]) == pytest.approx(2 / 4)
    # Radii of the predicted balls: 49.6, 46.5 and 49.6, which hold all real cells; of two far ones none.
    assert recall(REAL, PREDICTED) == 1.0
    assert recall(REAL, np.array([[50.0], [51.0], [52.0]])) == 0.0


def test_same_population_is_covered_as_expected():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(30, 2, 100, 3))
    # 1 - 2^-5 for many cells, 0.001 more for 100; 30 samples have a standard error of about 0.004.
    assert np.mean([coverage(x, y) for x, y in pairs]) == pytest.approx(31 / 32, abs=0.015)
    assert np.mean([density(x, y) for x, y in pairs]) == pytest.approx(1.0, abs=0.05)


def test_collapsed_cells_are_precise_and_recall_nothing():
    rng = np.random.default_rng(1)
    real, collapsed = rng.normal(size=(200, 3)), rng.normal(0, 0.01, size=(200, 3))
    assert precision(real, collapsed) == 1.0
    assert recall(real, collapsed) < 0.05
    assert coverage(real, collapsed) < 0.2


def test_few_cells_have_no_neighbours():
    cells = np.random.default_rng(2).normal(size=(6, 2))
    assert precision(cells, cells[:1]) == 1.0
    with pytest.raises(NotComputable, match="5 cells; a distance to the 5th other one"):
        precision(cells[:5], cells)
    with pytest.raises(NotComputable, match="5 cells"):
        recall(cells, cells[:5])
