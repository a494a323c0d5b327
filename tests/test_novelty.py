"""How far requests lie from what was measured: every level from a condition that has it by hand."""

import math

import numpy as np
import pytest

from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.novelty import LEVELS, MeasuredRange
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
        (Condition(("beside",), X, 1.0), "near", 1, "beside was not measured (nearest: a)"),
        (Condition(("away",), X, 1.0), "far", 30, "away was not measured (nearest: c)"),
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
    assert found.level in LEVELS


def test_what_nothing_tells_of_is_far_at_no_known_distance(measured):
    elsewhere = measured.novelty(Condition(("a",), (("line", "unheard"),), 1.0))
    assert elsewhere.level == "far"
    assert math.isnan(elsewhere.distance)
    blind = MeasuredRange(MEASURED, Likeness()).novelty(Condition(("beside",), X, 1.0))
    assert (blind.level, math.isnan(blind.distance)) == ("far", True)
    assert "nothing tells" in str(blind)
