"""How far requests lie from what was measured: every level from a condition that has it by hand."""

import math

import numpy as np
import pytest

from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.novelty import MeasuredRange
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition

X, Y, Z = ((("line", v),) for v in "xyz")
# a, b, c lie 1 apart; `beside` 1 from a, `away` 30.
TABLE = VectorTable(("a", "b", "c", "beside", "away"), np.array([[0.0], [1], [2], [-1], [32]], np.float32), "line")
CONTEXTS = VectorTable(
    tuple(Condition((), c).key for c in (X, Y, Z)), np.array([[0.0], [1], [1.5]], np.float32), "lines"
)
MEASURED = [
    Condition(("a",), X, 1.0), Condition(("b",), X, 10.0), Condition(("c",), X, 1.0), Condition(("a",), Y, 1.0),
    Condition(("a", "b"), X, 1.0),
]  # fmt: skip
REGRESSION = Regression("nearest")


@pytest.fixture(scope="module")
def measured():
    return MeasuredRange(MEASURED, Likeness({}, Predictor(REGRESSION, TABLE), Predictor(REGRESSION, CONTEXTS)))


@pytest.mark.parametrize(
    ("condition", "level", "distance", "reason"),
    [
        (Condition((), X), "control", 0, ""),
        (Condition(("a",), X, 0.0), "control", 0, ""),
        (MEASURED[0], "measured", 0, ""),
        (Condition(("b",), Y, 1.0), "recombined", 0, "apart"),
        (Condition(("a",), X, 5.0), "recombined", 0, "apart"),
        (Condition(("a", "c"), X, 1.0), "recombined", 0, "apart"),
        (Condition(("beside",), X, 1.0), "near", 1, "beside was not measured alone (nearest: a)"),
        (Condition(("away",), X, 1.0), "far", 30, "away was not measured alone (nearest: c)"),
        (Condition(("a", "away"), X, 1.0), "far", 30, "away"),
        (Condition(("a",), Z, 1.0), "near", 0.5, "z has no perturbed training cells (nearest: y)"),
        (Condition(("beside",), Z, 1.0), "near", 1, "z has no perturbed"),
        (Condition(("a", "b", "c"), X, 1.0), "far", 0, "3 perturbations at once, 2 at most in training"),
        (Condition(("a",), X, 11.0), "far", 0, "dose 11 is outside of 1 to 10"),
    ],
)
def test_levels(measured, condition, level, distance, reason):
    found = measured.novelty(condition)
    assert (found.level, found.distance) == (level, pytest.approx(distance))
    assert reason in "; ".join(found.reasons)


@pytest.mark.parametrize("unit", [False, True])
def test_a_perturbation_with_the_vector_of_a_measured_one_is_near_it_even_where_all_others_are_the_same(unit):
    """Seen by their directions, numbers are +1 or -1."""
    rows = np.array([[1], [3], [-1], [-3], [3], [0.1], [5]], np.float32)
    table = VectorTable(("a", "b", "c", "d", "twin", "small", "large"), rows, "line")
    measured = MeasuredRange(
        [Condition((name,), X) for name in "abcd"], Likeness({}, Predictor(Regression("nearest", unit), table))
    )
    twin = measured.novelty(Condition(("twin",), X))
    assert (twin.level, twin.distance) == ("near", 0)
    assert twin.reasons == (
        f"twin was not measured alone (nearest: {'a' if unit else 'b'}, whose vector is the same to it)",
    )
    small = measured.novelty(Condition(("small",), X))
    assert (small.level, small.distance) == ("near", 0 if unit else pytest.approx(0.45))
    assert measured.novelty(Condition(("large",), X)).distance == (0 if unit else 1)


def test_directions_that_differ_by_rounding_are_the_same():
    rows = np.outer([0.7, 1.3, 2.9, 0.31, 900], [0.2, 0.3, 0.7]).astype(np.float32)
    table = VectorTable(("a", "b", "c", "d", "twin"), rows, "line")
    predictor = Predictor(Regression("nearest", unit=True), table)
    found = MeasuredRange([Condition((n,), X) for n in "abcd"], Likeness({}, predictor)).novelty(
        Condition(("twin",), X)
    )
    assert (found.level, found.distance) == ("near", 0)


def test_where_all_measured_vectors_are_the_same_no_other_distance_is_known():
    table = VectorTable(("a", "b", "other"), np.array([[1], [1], [2]], np.float32), "line")
    measured = MeasuredRange(
        [Condition(("a",), X), Condition(("b",), X)], Likeness({}, Predictor(Regression("nearest"), table))
    )
    other = measured.novelty(Condition(("other",), X))
    assert other.level == "far"
    assert math.isnan(other.distance)


def test_measured_in_a_combination_alone_is_not_measured_alone():
    pairs = MeasuredRange([Condition(("a", "b"), X), Condition(("c",), X), Condition(("b",), X)], Likeness())
    assert pairs.novelty(Condition(("a",), X)).level == "far"
    assert pairs.novelty(Condition(("a", "b"), X)).level == "measured"
    assert pairs.novelty(Condition(("a", "b"), Y)).level == "far"
    assert "a was not measured alone" in str(pairs.novelty(Condition(("a",), X)))
    assert "a was not measured" not in str(pairs.novelty(Condition(("a", "b"), Y)))


def test_of_joined_tables_the_one_that_is_looked_at_tells():
    """The first table knows a, b, c, d and `beside`; it lacks e and f, of which the second one knows."""
    rows = np.array([[1, 0], [2, 0], [3, 0], [4, 1], [0, 2], [0, 3], [5, 0]], np.float32)
    table = VectorTable((*"abcdef", "beside"), rows, "two", widths=(1, 1))
    likeness = Likeness({}, Predictor(Regression("nearest", source=0), table))
    measured = MeasuredRange([Condition((n,)) for n in "abcde"], likeness)
    assert math.isnan(measured.novelty(Condition(("f",))).distance)
    assert measured.novelty(Condition(("beside",))).distance == pytest.approx(1)


def test_what_nothing_tells_of_is_far_at_no_known_distance(measured):
    elsewhere = measured.novelty(Condition(("a",), (("line", "unheard"),), 1.0))
    assert elsewhere.level == "far"
    assert math.isnan(elsewhere.distance)
    blind = MeasuredRange(MEASURED, Likeness()).novelty(Condition(("beside",), X, 1.0))
    assert (blind.level, math.isnan(blind.distance)) == ("far", True)
    assert "nothing tells" in str(blind)
