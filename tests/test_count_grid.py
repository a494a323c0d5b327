"""Drawing counts around real-valued expression: what must be kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensim.count_grid import draw_counts


def log_of(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return np.log1p(1e4 * counts / library[:, None]).astype(np.float32)


def test_whole_counts_stay():
    rng = np.random.default_rng(0)
    library = rng.integers(300, 80_000, 200).astype(np.float32)
    counts = rng.poisson(rng.gamma(0.3, 20, size=(200, 30)))
    v = rng.random((200, 30), dtype=np.float32)
    np.testing.assert_array_equal(draw_counts(log_of(counts, library), library, v), counts)


@pytest.mark.parametrize("x", [0.001, 0.3, 1.0, 4.2])
def test_the_mean_log_is_kept_and_only_neighbours_are_drawn(x):
    n = 40_000
    library = np.full(n, 7_000, np.float32)
    v = np.random.default_rng(0).random((n, 1), dtype=np.float32)
    counts = draw_counts(np.full((n, 1), x, np.float32), library, v)
    back = log_of(counts, library).astype(np.float64)
    assert len(np.unique(counts)) == 2
    assert np.ptp(counts) == 1
    # Five standard errors.
    assert back.mean() == pytest.approx(x, abs=5 * back.std() / n**0.5)


def test_a_zero_moved_up_a_little_stays_zero_in_most_cells():
    n = 10_000
    v = np.random.default_rng(0).random((n, 1), dtype=np.float32)
    zero = (draw_counts(np.full((n, 1), 0.05, np.float32), np.full(n, 1e4, np.float32), v) == 0).mean()
    assert zero == pytest.approx(1 - 0.05 / np.log(2), abs=0.015)


@given(st.floats(0, 9.2), st.integers(1, 10**7), st.floats(0, 1, exclude_max=True, width=32))
def test_counts_are_never_negative_nor_far_off(x, library, v):
    (count,) = draw_counts(np.full((1, 1), x, np.float32), np.array([library], np.float32), np.full((1, 1), v))[0]
    expected = np.expm1(x) * library / 1e4
    assert count >= 0
    assert abs(count - expected) <= 1 + 1e-3 + 1e-5 * expected
