"""Averages, intervals and normalised scores with known answers."""

import numpy as np
import pytest

from gensim.metrics.scores import condition_score, mean_with_interval, normalised_score


def test_normalised_score_of_known_numbers():
    # averages 2, 5, 1: (5 - 2) / (5 - 1)
    score = normalised_score([1.0, 3.0], [4.0, 6.0], [1.0, 1.0], seed=0)
    assert score.value == pytest.approx(0.75)
    assert score.n == 2
    assert score.low <= score.value <= score.high


def test_score_is_a_ratio_of_averages_not_an_average_of_ratios():
    # ratios 1 and 0, but the second condition has ten times the effect
    assert normalised_score([0.0, 10.0], [1.0, 10.0], [0.0, 0.0], seed=0).value == pytest.approx(1 / 11)


def test_interval_resamples_numerator_and_denominator_together():
    no_change = np.random.default_rng(0).uniform(1, 9, size=20)
    score = normalised_score(no_change / 2, no_change, np.zeros(20), seed=0)
    # Half of every condition's effect is half of any resample's: drawn apart, the interval would be wide.
    assert (score.value, score.low, score.high) == pytest.approx((0.5, 0.5, 0.5))


def test_scores_that_do_not_exist_say_why():
    nothing = normalised_score([1.0, 1.0], [1.0, 1.0], [1.0, 2.0], seed=0)
    assert nothing.value is None
    assert "no effect to score" in nothing.reason
    pole = normalised_score([1.0, 1.0], [5.0, 1.0], [1.0, 2.0], seed=0)
    assert pole.value == pytest.approx(4 / 3)
    assert pole.low is None
    assert "resamples hold no effect" in pole.reason
    assert normalised_score([], [], [], seed=0).value is None
    one = normalised_score([1.0], [3.0], [1.0], seed=0)
    assert (one.value, one.low) == (1.0, None)
    assert "one condition" in one.reason


def test_mean_and_interval():
    estimate = mean_with_interval([1.0, 2.0, 6.0], seed=0)
    assert estimate.value == pytest.approx(3.0)
    assert 1.0 <= estimate.low < 3.0 < estimate.high <= 6.0
    assert estimate == mean_with_interval([1.0, 2.0, 6.0], seed=0)
    assert mean_with_interval([2.0], seed=0).low is None
    assert mean_with_interval([], seed=0).reason == "no condition has a value"


def test_interval_of_a_normal_mean_has_the_textbook_width():
    values = np.random.default_rng(1).normal(size=200)
    estimate = mean_with_interval(values, seed=0)
    # 2,000 resamples place a 2.5 % quantile within about 5 % of its distance from the mean.
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.1)


def test_interval_covers_the_true_mean():
    rng = np.random.default_rng(2)
    covered = []
    for trial in range(200):
        estimate = mean_with_interval(rng.exponential(size=40), seed=trial, resamples=400)
        covered.append(estimate.low <= 1.0 <= estimate.high)
    # Nominal 95 %; percentile intervals of skewed samples of 40 cover about 92 %, with an error of 2 % in 200 trials.
    assert 0.86 <= np.mean(covered) <= 0.99


def test_score_of_one_condition():
    score = condition_score([1.0, 1.2], [3.0, 3.2], [1.0, 1.0])
    assert score.value == pytest.approx(2.0 / 2.1)
    noise = condition_score([1.0, 1.0], [1.2, 1.0], [1.0, 1.1])
    assert noise.value is None
    assert "not clearly positive" in noise.reason
