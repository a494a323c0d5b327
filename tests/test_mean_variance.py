"""Points of spread hold every gene that has a place on logarithmic axes, where it belongs, and the same every time."""

import subprocess
import sys

import numpy as np
import pytest

from gensim.metrics.mean_variance import MOST_POINTS, mean_variance

GENES = np.float32([0.5, 1, 2, 0])


def moments(mean=GENES, variance=GENES * 2, model_mean=GENES + 1, model_variance=GENES * 3):
    return {"real": (mean, variance), "model": (model_mean, model_variance)}


def test_points_are_the_moments_and_their_ratio():
    found = mean_variance([moments(), {}, moments(mean=GENES * 10)], seed=0)
    mean, variance, model_mean, ratio = 10 ** found.log10.astype(float)
    # The last gene has no variance, so it is left out on both sides; the empty condition adds nothing.
    np.testing.assert_allclose(mean, [0.5, 1, 2, 5, 10, 20], rtol=1e-3)
    np.testing.assert_allclose(variance, [1, 2, 4, 1, 2, 4], rtol=1e-3)
    np.testing.assert_allclose(model_mean, [1.5, 2, 3, 1.5, 2, 3], rtol=1e-3)
    np.testing.assert_allclose(ratio, 1.5, rtol=1e-3)
    assert (found.n_all, found.n_conditions) == (6, 2)
    np.testing.assert_allclose(found.quartiles, 1.5, rtol=1e-6)


@pytest.mark.parametrize("column", range(4))
def test_a_gene_without_a_place_on_either_side_is_left_out(column):
    arrays = [np.float32([1, 2, 3]) for _ in range(4)]
    arrays[column] = np.float32([1, -1, 3])
    assert mean_variance([moments(*arrays)], seed=0).log10.shape == (4, 2)


@pytest.mark.parametrize("smallest", [1e-3, 6e-5, 3e-8, 1e-12, 1e-16])
def test_what_float16_itself_cannot_hold_is_right_to_1_percent(smallest):
    """A gene that one cell of many has: a mean of 1e-5, a variance of 1e-7."""
    values = np.float32(smallest * np.linspace(1, 9, 50))
    found = 10 ** mean_variance([moments(values, values, values, 2 * values)], seed=0).log10.astype(float)
    np.testing.assert_allclose(found[:3], np.stack([values] * 3), rtol=0.01)
    np.testing.assert_allclose(found[3], 2, rtol=1e-3)


def test_the_smallest_and_the_largest_float32_have_a_place():
    ends = np.float32([1e-45, 3.4e38])
    found = mean_variance([moments(ends, ends, ends, ends[::-1])], seed=0)
    np.testing.assert_allclose(found.log10[0], [-44.85, 38.53], rtol=1e-3)
    np.testing.assert_allclose(found.log10[3], [83.4, -83.4], rtol=1e-3)


@pytest.mark.parametrize("n", [MOST_POINTS, MOST_POINTS + 1, 100 * MOST_POINTS])
def test_of_very_many_points_some_are_drawn_evenly(n):
    many = np.logspace(-3, 0, n, dtype=np.float32)
    found = mean_variance([moments(many, many, many, many)], seed=0)
    assert found.log10.shape == (4, MOST_POINTS)
    assert found.n_all == n
    evenly = np.linspace(-3, 0, MOST_POINTS)
    np.testing.assert_allclose(found.log10[0], evenly, atol=3 / MOST_POINTS + 1e-3)
    if n == MOST_POINTS:
        np.testing.assert_array_equal(found.log10[0], np.log10(many).astype(np.float16))


def test_quartiles_are_of_all_points():
    many = np.ones(3 * MOST_POINTS, dtype=np.float32)
    ratio = np.random.default_rng(0).lognormal(0, 1, len(many)).astype(np.float32)
    found = mean_variance([moments(many, many, many, ratio)], seed=0)
    np.testing.assert_allclose(found.quartiles, np.quantile(ratio, [0.25, 0.5, 0.75]), rtol=1e-4)


def test_conditions_do_not_all_show_the_same_genes():
    genes = np.arange(1, 1001, dtype=np.float32)
    shown = mean_variance([moments(genes, genes, genes, genes) for _ in range(40)], seed=0).log10[0]
    assert len(np.unique(shown)) > 500, "every tenth of 40,000 would be 100 genes"


def test_points_are_the_same_for_the_same_numbers_and_seed():
    many = np.arange(1, 2 * MOST_POINTS, dtype=np.float32)
    a, b, c = (mean_variance([moments(many, many, many, many)], seed).log10 for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize(("found", "n_conditions"), [([], 0), ([{}], 0), ([moments(GENES * 0)], 1)])
def test_an_evaluation_without_variances_has_no_points(found, n_conditions):
    empty = mean_variance(found, seed=0)
    assert empty.log10.shape == (4, 0)
    assert (empty.n_all, empty.n_conditions, empty.quartiles) == (0, n_conditions, None)


def test_reports_do_without_matplotlib():
    script = "import sys, gensim.metrics.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
