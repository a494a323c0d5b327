"""Times: what a time is of a condition, what its cells come from, and which way leads there."""

import pytest

from gensim.errors import DataError
from gensim.perturbations.time_points import Leg, TimePoints
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
    assert at(1.0000001).label == "control | B | time 1.0000001"
    assert Condition.from_key(later.key) == later
    assert at(0.0, "A").changes_nothing
    assert at(0.0, "A") != at(None, "A")
    assert not at(2.0, "A", dose=0.0).changes_nothing, "cells of dose 0 develop"
    assert at(None, "A").key == '[["A"], [["cell_type", "B"]], null]', "keys decide draws: those without time stay"


@pytest.mark.parametrize("time", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(DataError, match="a time is finite and not negative"):
        at(time, "A")


@pytest.mark.parametrize(
    ("condition", "source"),
    [
        (at(24.0, "A"), at(6.0, "A")),
        (at(6.0, "A"), at(2.0, "A")),
        (at(2.0, "A"), at(None)),
        (at(6.0, "A", context=T_CELL), at(None, context=T_CELL)),
        (at(12.0, "D"), at(2.0, "D")),
        (at(24.0), at(None)),
        (at(24.0, "D"), at(12.0, "D")),
        # Nothing was measured of it, so that only control cells are there.
        (at(12.0, "new"), at(None)),
    ],
)
def test_cells_are_coupled_with_those_of_the_latest_time_before(condition, source):
    assert TimePoints(MEASURED).sources([condition]) == [source]


def way(*ends, share=1.0):
    starts = [ends[0].control, *ends]
    return [Leg(start, end, share if end == ends[-1] else 1.0) for start, end in zip(starts, ends, strict=False)]


@pytest.mark.parametrize(
    ("condition", "legs"),
    [
        (at(24.0, "A"), way(at(2.0, "A"), at(6.0, "A"), at(24.0, "A"))),
        (at(12.0, "A"), way(at(2.0, "A"), at(6.0, "A"), at(24.0, "A"), share=1 / 3)),
        (at(1.0, "A"), way(at(2.0, "A"), share=0.5)),
        (at(99.0, "A"), way(at(2.0, "A"), at(6.0, "A"), at(24.0, "A"))),
        # What was measured ends at 12.
        (at(18.0, "D"), way(at(2.0, "D"), at(12.0, "D"))),
        # What was never measured goes through all times.
        (at(9.0, "new"), way(at(2.0, "new"), at(6.0, "new"), at(12.0, "new"), share=0.5)),
        (at(2.0, "A", dose=0.0), way(at(2.0, "A", dose=0.0))),
        (at(0.0, "A"), way(at(0.0, "A"))),
        (at(None), way(at(None))),
    ],
)
def test_the_way_to_a_condition(condition, legs):
    assert TimePoints(MEASURED).legs(condition) == legs


def test_without_times_there_is_one_leg():
    conditions = [Condition(("A",)), Condition(("A",), dose=2.0)]
    points = TimePoints(conditions)
    assert points.all == ()
    assert [points.legs(c) for c in conditions] == [way(c) for c in conditions]
    assert points.source(conditions[0]) == Condition(())


def test_up_to_when_anything_is_known():
    points = TimePoints(MEASURED)
    assert [points.last(at(1.0, name)) for name in ("A", "D", "new")] == [24.0, 12.0, 24.0]
