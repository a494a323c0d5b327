"""Times: what a time is of a condition, which way leads there, and what is expected in between."""

from dataclasses import replace

import numpy as np
import pytest

from gensim.errors import DataError
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.time_points import Leg, MeasuredCourses, TimePoints
from gensim.types import Condition

B_CELL, T_CELL = (("cell_type", "B"),), (("cell_type", "T"),)


def at(time, *names, context=B_CELL, dose=None):
    return Condition(names, context, dose, time)


# A in B cells at 2, 6 and 24, in T cells at 6; D at 2 and 12; unperturbed cells at 24.
MEASURED = (
    *(at(time, "A") for time in (2.0, 6.0, 24.0)),
    at(6.0, "A", context=T_CELL),
    *(at(time, "D") for time in (2.0, 12.0)),
    at(24.0),
)


def test_control_has_no_time_and_unperturbed_cells_later_are_no_control():
    assert at(0.0) == at(None)
    assert at(0.0).is_control
    later = at(24.0)
    assert not later.is_control
    assert not later.changes_nothing
    assert later.control == at(None)
    assert later.label == "control | B | time 24"
    assert Condition.from_key(later.key) == later
    assert at(0.0, "A").changes_nothing
    assert at(0.0, "A") != at(None, "A")
    assert at(None, "A").key == '[["A"], [["cell_type", "B"]], null]', "keys decide draws: those without time stay"


@pytest.mark.parametrize("time", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(DataError, match="a time is finite and not negative"):
        at(time, "A")


@pytest.mark.parametrize(
    ("condition", "before"),
    [
        (at(24.0, "A"), at(6.0, "A")),
        (at(6.0, "A"), at(2.0, "A")),
        (at(2.0, "A"), at(None)),
        (at(6.0, "A", context=T_CELL), at(None, context=T_CELL)),
        (at(12.0, "D"), at(2.0, "D")),
        (at(24.0), at(None)),
        (at(12.0, "new"), at(6.0, "new")),
        (at(24.0, "D"), at(12.0, "D")),
    ],
)
def test_cells_come_from_the_latest_time_before(condition, before):
    assert TimePoints(MEASURED).previous(condition) == before


@pytest.mark.parametrize(
    ("condition", "legs"),
    [
        (at(24.0, "A"), [Leg(at(2.0, "A")), Leg(at(6.0, "A")), Leg(at(24.0, "A"))]),
        (at(12.0, "A"), [Leg(at(2.0, "A")), Leg(at(6.0, "A")), Leg(at(24.0, "A"), 1 / 3)]),
        (at(1.0, "A"), [Leg(at(2.0, "A"), 0.5)]),
        (at(99.0, "A"), [Leg(at(2.0, "A")), Leg(at(6.0, "A")), Leg(at(24.0, "A"))]),
        (at(18.0, "D"), [Leg(at(2.0, "D")), Leg(at(12.0, "D")), Leg(at(24.0, "D"), 0.5)]),
        (at(6.0, "new"), [Leg(at(2.0, "new")), Leg(at(6.0, "new"))]),
        (at(0.0, "A"), [Leg(at(0.0, "A"))]),
        (at(None), [Leg(at(None))]),
    ],
)
def test_the_way_to_a_condition(condition, legs):
    assert TimePoints(MEASURED).legs(condition) == legs


def test_without_times_there_is_one_leg():
    conditions = [Condition(("A",)), Condition(("A",), dose=2.0)]
    points = TimePoints(conditions)
    assert points.all == ()
    assert [points.legs(c) for c in conditions] == [[Leg(c)] for c in conditions]
    assert points.previous(conditions[0]) == Condition(())


@pytest.mark.parametrize(
    ("condition", "weights"),
    [
        (at(6.0, "A"), {1: 1.0}),
        (at(12.0, "A"), {1: 2 / 3, 2: 1 / 3}),
        (at(1.0, "A"), {0: 0.5}),
        (at(99.0, "A"), {2: 1.0}),
        (at(12.0), {6: 0.5}),
        # In T cells A was measured at 6: at 2 a third of that, and at 12 what is known of anything at that time.
        (at(2.0, "A", context=T_CELL), {3: 1 / 3}),
        (at(12.0, "A", context=T_CELL), {5: 1.0}),
        # A+D at 2 is the sum of both; at 6 D is not known, and what is known of B cells then stands for the pair.
        (at(2.0, "A", "D"), {0: 1.0, 4: 1.0}),
        (at(6.0, "A", "D"), {1: 1.0}),
        (at(0.0, "A"), {}),
        (at(None), {}),
    ],
)
def test_weights_at_and_between_times(condition, weights):
    found = MeasuredCourses(MEASURED).weights(condition)
    assert {k: w for (k, _), w in found.items()} == pytest.approx(weights)


def test_effects_between_times_lie_on_a_line():
    effects = MeanEffects(MEASURED, np.arange(14, dtype=np.float32).reshape(7, 2))
    ends = [effects.shift(at(time, "A")) for time in (6.0, 24.0)]
    np.testing.assert_allclose(effects.shift(at(15.0, "A")), sum(ends) / 2)
    np.testing.assert_array_equal(effects.shift(replace(MEASURED[0], time=0.0)), 0)
