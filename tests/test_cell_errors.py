"""Standard errors over cells: closed forms, all halves of four cells, and what has none."""

import math
from itertools import combinations

import numpy as np
import pytest

from gensim.metrics.catalogue import CATALOGUE, choose
from gensim.metrics.cell_errors import (
    bootstrap_errors,
    error_of_average,
    half_sampling_error,
    in_words,
    interval,
    kind_of,
)

MEANS = [metric for metric in choose(["effect"]) if kind_of(metric) == "bootstrap"]


def halves(n, n_repeats, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.permutation(n)[: n // 2], np.zeros(30)) for _ in range(n_repeats)]


def test_which_metrics_are_bootstrapped():
    keys = {"l2_delta", "mse_delta", "mae_delta", "pearson_delta", "spearman_delta", "r2_delta", "pearson2_delta"}
    assert {metric.key for metric in MEANS} == keys
    assert {kind_of(metric) for metric in CATALOGUE} == {"bootstrap", "half-sampling", None}
    assert kind_of(*choose(["energy_distance_pca"])) == "half-sampling"
    assert kind_of(*choose(["rank"])) is None
    assert kind_of(*choose(["deg_macro_f1"])) is None


def test_error_of_a_length_is_that_of_its_direction():
    """Far from 0 a length changes as its component along the difference u of the means does."""
    rng = np.random.default_rng(1)
    real = rng.normal(0, 1, (80, 30)).astype(np.float32)
    predicted = rng.normal(5, 0.5, (50, 30)).astype(np.float32)
    compared = halves(80, 5)
    (l2,) = choose(["l2_delta"])
    found = [bootstrap_errors(real, predicted, compared, None, [l2], seed)["l2_delta"] for seed in range(20)]
    difference = predicted.mean(axis=0) - real.mean(axis=0)
    u = difference / np.linalg.norm(difference)
    # Each cell counts 1 / 40 in each half that holds it, averaged over 5 halves.
    share = sum(np.isin(np.arange(80), rows) for rows, _ in compared) / (5 * 40)
    along = real.astype(float) @ u
    variance = np.square(share * (along - along.mean())).sum() + (predicted.astype(float) @ u).var() / 50
    # 100 samples give a standard deviation to 7 %, 20 times 100 to 1.6 %; what is left is that a length is not linear.
    assert np.mean(found) == pytest.approx(np.sqrt(variance), rel=0.06)


def test_all_halves_of_four_cells_by_hand():
    """A mean of 0, 1, 2, 3: six halves with means 0.5, 1, 1.5, 1.5, 2, 2.5, of variance 5/12, which is (5/3) / 4."""
    means = [np.mean(pair) for pair in combinations(range(4), 2)]
    # s² is unbiased for halves that are drawn; over all six it is 6/5 of their variance.
    assert half_sampling_error(means, 4) == pytest.approx(np.sqrt(6 / 5 * 5 / 12))
    assert half_sampling_error([1.0, 3.0], 5) == pytest.approx(np.sqrt(2 * 3 / 2)), "3 of 5 cells"
    assert half_sampling_error([1.0], 10) is None
    assert half_sampling_error([1.0, 2.0], 3) is None


def test_error_of_an_average_over_conditions():
    assert error_of_average([3.0, 4.0]) == pytest.approx(2.5)
    assert error_of_average([3.0, None]) is None
    assert error_of_average([]) is None


def test_few_cells_and_effects_without_controls_have_none():
    rng = np.random.default_rng(2)
    real, few = (rng.normal(0, 1, (n, 30)).astype(np.float32) for n in (20, 9))
    assert bootstrap_errors(few, real, halves(9, 2), None, MEANS, seed=0) == {}
    assert bootstrap_errors(real, few, halves(20, 2), None, MEANS, seed=0) == {}
    without = [(rows, None) for rows, _ in halves(20, 2)]
    assert set(bootstrap_errors(real, real + 1, without, None, MEANS, seed=0)) == {"l2_delta", "mse_delta", "mae_delta"}
    both = bootstrap_errors(real, real + 1, halves(20, 2), np.zeros(30), MEANS, seed=0)
    assert set(both) == {metric.key for metric in MEANS}


def test_samples_that_leave_a_half_without_cells_are_left_out():
    rng = np.random.default_rng(3)
    real = rng.normal(0, 1, (10, 30)).astype(np.float32)
    compared = [(np.array([0, 1]), np.zeros(30)), (np.array([2]), np.zeros(30))]
    # One cell is drawn not at all in a third of the samples.
    assert bootstrap_errors(real, real + 1, compared, np.zeros(30), choose(["l2_delta"]), seed=0)["l2_delta"] > 0


def test_words_name_the_kind_once():
    ends = {"a": (0.123, 0.2), "b": (2.0, 3.0), "c": (1.0, 1.5)}
    lines = in_words(ends, {"a": "bootstrap", "b": "half-sampling", "c": "bootstrap"})
    assert [line.split(" (")[0] for line in lines] == ["by bootstrap", "by half-sampling"]
    assert lines[0].endswith(": a [0.123, 0.2], c [1, 1.5]")


def test_intervals_end_at_the_bounds_of_the_metric_or_at_the_value():
    assert interval(0.5, 0.1, (0.0, 1.0)) == pytest.approx((0.304, 0.696))
    assert interval(0.9, 0.1, (0.0, 1.0)) == (pytest.approx(0.704), 1.0)
    assert interval(-0.01, 0.1, (0.0, math.inf)) == (-0.01, pytest.approx(0.186)), "an unbiased estimate below 0"
