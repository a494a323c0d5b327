"""Conformal intervals: by hand, against an oracle, and whether they cover what they never saw as often as they say."""

import math

import numpy as np
import pytest

from gensim.errors import NotComputable
from gensim.metrics.catalogue import choose
from gensim.metrics.comparison import Side
from gensim.metrics.conformal import Conformal
from gensim.metrics.measured import Measured
from gensim.metrics.panel import Panel
from gensim.metrics.panel_measurement import Member, measure_panels
from gensim.types import Condition

NO_TARGET = np.empty(0, dtype=np.int64)
TAKES = ("delta",)
METRICS = choose(["conformal_coverage", "conformal_width"])


def of_errors(*genes):
    """Effects of K conditions that are missed by so much, to either side, gene by gene."""
    errors = np.array(genes, dtype=float).T
    return Conformal.of(errors * (-1) ** np.arange(len(errors))[:, None], np.zeros_like(errors))


def test_by_hand():
    # Without the condition that is missed by 10 the 9th smallest of 9 is 9; without any other it is 10.
    ten = of_errors(np.arange(1, 11))
    assert [ten.width(k) for k in range(10)] == [10.0] * 9 + [9.0]
    assert [ten.coverage(k) for k in range(10)] == [1.0] * 9 + [0.0]
    # ceil(0.9 * 20) = 18: of 1 to 20 without 5 the 18th smallest is 19, without 19 or 20 it is 18.
    twenty = of_errors(np.arange(20, 0, -1), np.ones(20))
    assert [float(twenty.half_widths(k)[0]) for k in (15, 2, 1, 0)] == [19.0, 19.0, 18.0, 18.0]
    assert twenty.width(15) == 10.0
    # Of the two genes the second, always missed by 1, is within everywhere.
    assert [twenty.coverage(k) for k in (0, 1, 2)] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("n_conditions", [10, 11, 19, 20, 57])
def test_half_widths_equal_an_oracle_also_where_errors_are_equal(n_conditions):
    rng = np.random.default_rng(n_conditions)
    real, predicted = rng.integers(0, 6, size=(2, n_conditions, 40)).astype(float)
    found = Conformal.of(real, predicted)
    for k in range(n_conditions):
        others = np.sort(np.abs(np.delete(real - predicted, k, axis=0)), axis=0)
        expected = others[math.ceil(round(0.9 * n_conditions, 9)) - 1]
        np.testing.assert_array_equal(found.half_widths(k), expected)
        assert found.width(k) == pytest.approx(expected.mean())
        assert found.coverage(k) == pytest.approx((np.abs(real - predicted)[k] <= expected).mean())


def test_held_out_conditions_are_covered_as_often_as_stated():
    """Errors with long tails and of other sizes by gene, in 500 screens of 23 conditions; one of each is looked at."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(500):
        errors = rng.standard_t(2, size=(23, 40)) * rng.gamma(2, size=40)
        shares.append(Conformal.of(errors, np.zeros((23, 40))).coverage(0))
    # ceil(20.7) / 23 = 21 / 23; 20,000 looks have a standard error of 0.002.
    assert np.mean(shares) == pytest.approx(21 / 23, abs=0.008)


def test_the_average_of_the_coverage_is_the_same_whatever_is_predicted_and_the_width_is_not():
    rng = np.random.default_rng(1)
    real, noise = rng.normal(size=(2, 30, 50))
    good, bad = Conformal.of(real, real + 0.1 * noise), Conformal.of(real, 3 * noise)
    for found in (good, bad):
        assert np.mean([found.coverage(k) for k in range(30)]) == pytest.approx(27 / 30)
    assert good.width(0) < 0.1 * bad.width(0)
    real[0] *= 10
    hard = Conformal.of(real, real * 0.5)
    assert hard.coverage(0) < 0.5 < min(hard.coverage(k) for k in range(1, 30))


def test_genes_that_nobody_misses_are_not_counted_and_nothing_to_miss_has_no_coverage():
    found = of_errors(np.arange(1, 11), np.zeros(10), np.zeros(10))
    assert found.coverage(9) == 0.0
    assert found.width(9) == pytest.approx(9 / 3)
    none = of_errors(np.zeros(10))
    assert none.width(0) == 0.0
    with pytest.raises(NotComputable, match="without an error"):
        none.coverage(0)


def test_ten_conditions_are_needed():
    with pytest.raises(NotComputable, match=r"9 conditions to calibrate by.*at least 10"):
        Panel(np.ones((9, 2)), np.zeros((9, 2)), [NO_TARGET] * 9).conformal.width(0)


def side(mean, control_mean=0.0):
    x = np.array([[mean]] * 2, dtype=np.float32)
    return Side(x, x, None if control_mean is None else np.full(1, control_mean), x[:0])


def test_seen_and_unseen_conditions_calibrate_each_other_apart():
    """The model misses what it saw by 1 to 10, and what it did not by 100 to 1,000; another context has one more."""
    members = []
    for i, seen in enumerate([True] * 10 + [False] * 10 + [True]):
        context = (("donor", "X"),) if i == 20 else ()
        members.append(Member(Condition((f"P{i}",), context), Measured(), NO_TARGET, seen))
        members[-1].keep("real", 0, side((i % 10 + 1) * (1 if seen else 100)), TAKES)
        members[-1].keep("model", 0, side(0.0), TAKES)
        members[-1].keep("no_change", 0, side(2.0, control_mean=2.0), TAKES)
    measure_panels(members, METRICS, "real", ["model", "no_change"], 1)
    for row in ("model", "no_change"):
        widths = [member.measured.values[row, "conformal_width"] for member in members]
        assert widths == [[10.0]] * 9 + [[9.0]] + [[1000.0]] * 9 + [[900.0]] + [[]]
        shares = [member.measured.values[row, "conformal_coverage"] for member in members]
        assert shares == ([[1.0]] * 9 + [[0.0]]) * 2 + [[]]
    assert "no other of this context" in members[20].measured.reasons["model", "conformal_width"]


def test_a_group_without_enough_conditions_has_the_reason():
    members = []
    for i in range(12):
        members.append(Member(Condition((f"P{i}",)), Measured(), NO_TARGET, i < 9))
        members[-1].keep("real", 0, side(i), TAKES)
        members[-1].keep("model", 0, side(0), TAKES)
    measure_panels(members, METRICS, "real", ["model"], 1)
    assert "9 conditions to calibrate by" in members[0].measured.reasons["model", "conformal_width"]
    assert "3 conditions to calibrate by" in members[11].measured.reasons["model", "conformal_coverage"]
