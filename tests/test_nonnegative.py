"""Cutting off at 0 without lifting means: by hand, against bisection, and as a projection."""

import numpy as np
import pytest
import torch

from gensim.nonnegative import offsets_to_nonnegative


def cut(x: torch.Tensor) -> torch.Tensor:
    return (x - offsets_to_nonnegative(x)).clamp_min(0)


def test_by_hand():
    """(3, 1, -1) has mean 1: with 0.5 off, (2.5, 0.5, 0) has it too. (1, 2, 0) stays. (-1, -3, 1) has mean -1."""
    x = torch.tensor([[3.0, 1.0, -1.0], [1.0, 2.0, 0.0], [-1.0, -3.0, 1.0]]).T
    torch.testing.assert_close(offsets_to_nonnegative(x), torch.tensor([0.5, 0.0, 1.0]))
    torch.testing.assert_close(cut(x), torch.tensor([[2.5, 0.5, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]).T)


def test_the_mean_is_kept_and_offsets_equal_bisection():
    rng = np.random.default_rng(0)
    x = rng.normal(0.3, 1.0, size=(200, 50)) * rng.integers(0, 2, size=(200, 50))
    offset = offsets_to_nonnegative(torch.from_numpy(x)).numpy()
    target = x.mean(0).clip(min=0)
    low, high = np.zeros(50), x.max(0)
    for _ in range(80):
        middle = (low + high) / 2
        above = np.maximum(x - middle, 0).mean(0) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    np.testing.assert_allclose(offset, low, atol=1e-10)
    np.testing.assert_allclose(np.maximum(x - offset, 0).mean(0), target, atol=1e-12)


def test_no_other_nonnegative_population_with_that_mean_is_nearer():
    rng = np.random.default_rng(1)
    x = rng.normal(0.5, 1.0, size=12)
    nearest = cut(torch.from_numpy(x)[:, None])[:, 0].numpy()
    for _ in range(300):
        other = np.maximum(x + rng.normal(0, 0.3, size=12), 0)
        other *= nearest.sum() / other.sum()
        assert np.square(other - x).sum() >= np.square(nearest - x).sum() - 1e-12


@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_one_cell_and_equal_cells(value):
    for n in (1, 3):  # whatever the number of cells
        torch.testing.assert_close(cut(torch.full((n, 1), value)), torch.full((n, 1), max(value, 0.0)))
