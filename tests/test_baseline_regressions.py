"""Which regression training conditions choose, for perturbations and for contexts that were not measured."""

import numpy as np

from gensim.baselines.regressions import Regressed, in_words, preferred
from gensim.perturbations.chosen import Chosen, Judged
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition

X, Y = (("line", "x"),), (("line", "y"),)
EFFECTS = MeanEffects((Condition(("a",), X), Condition(("b",), X)), np.array([[1, 2], [3, 5]], np.float32))
TABLE = VectorTable(("a", "b", "c"), np.array([[0], [1], [3]], np.float32), "line")


def judged(unexplained):
    return Judged(Regression("ridge"), unexplained)


def row(of_perturbations, of_contexts):
    return Regressed(EFFECTS, Chosen(of_perturbations, of_contexts, None))


def test_perturbations_are_looked_at_where_one_was_not_measured_alone_and_contexts_where_all_were_in_other_ones():
    rows = {"nearest": row(judged(0.5), judged(0.4)), "ridge": row(judged(0.6), judged(0.3))}
    assert preferred(rows, Condition(("a",), Y)) == "ridge"
    assert preferred(rows, Condition(("a", "b"), Y)) == "ridge"
    assert preferred(rows, Condition(("c",), X)) == "nearest"
    assert preferred(rows, Condition(("a", "c"), Y)) == "nearest"
    # A combination that was measured itself needs none of its members.
    together = MeanEffects((*EFFECTS.conditions, Condition(("b", "c"), X)), np.ones((3, 2), np.float32))
    known = {name: Regressed(together, regressed.chosen) for name, regressed in rows.items()}
    assert preferred(known, Condition(("b", "c"), Y)) == "ridge"
    assert preferred(known, Condition(("b", "c"), X, 2.0)) is None


def test_where_all_rows_are_the_same_nothing_is_chosen():
    """Other doses, sums of what was measured in the context, and no change."""
    rows = {"nearest": row(judged(0.5), judged(0.4)), "ridge": row(judged(0.6), judged(0.3))}
    for condition in (Condition(("a",), X, 2.0), Condition(("a", "b"), X), Condition((), Y), Condition(("c",), X, 0.0)):
        assert preferred(rows, condition) is None
        shifts = [
            EFFECTS.informed(Likeness(perturbations=Predictor(Regression(kind), TABLE))).shift(condition)
            for kind in ("nearest", "ridge")
        ]
        np.testing.assert_array_equal(*shifts)
    assert "training conditions choose" not in " ".join(in_words(rows, [Condition(("a", "b"), X)]))


def test_a_regression_that_nothing_could_judge_explains_nothing():
    rows = {"nearest": row(judged(1.2), None), "ridge": row(judged(None), None), "kernel_ridge": row(judged(0.9), None)}
    assert preferred(rows, Condition(("c",), X)) == "kernel_ridge"
    assert preferred({"nearest": rows["nearest"], "ridge": rows["ridge"]}, Condition(("c",), X)) == "ridge"
    assert preferred(rows, Condition(("a",), Y)) == "nearest", "the first, where there is nothing to choose by"


def test_words_count_the_conditions_that_were_not_measured():
    rows = {"nearest": row(judged(0.5), judged(0.4)), "ridge": row(judged(0.6), judged(0.3))}
    asked = [Condition(("a",), X), Condition(("a",), Y), Condition(("b",), Y), Condition(("c",), X)]
    lines = in_words(rows, asked)
    assert lines[-1] == (
        "of these regressions, training conditions choose ridge for 2 of 3 conditions, nearest for 1 of 3 conditions"
    )
    assert lines[0].startswith("nearest: unmeasured perturbations: ridge regression on vectors")
    assert in_words({}, asked) == []
