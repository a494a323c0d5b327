"""Which regression training conditions choose, for perturbations and for contexts that were not measured."""

import numpy as np

from gensim.baselines.regressions import Regressed, in_words, preferred
from gensim.perturbations.choose_regression import Chosen, Judged
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.regression import Regression
from gensim.types import Condition

X, Y = (("line", "x"),), (("line", "y"),)
EFFECTS = MeanEffects((Condition(("a",), X), Condition(("b",), X)), np.ones((2, 3), np.float32))


def judged(unexplained):
    return Judged(Regression("ridge"), unexplained)


def row(of_perturbations, of_contexts):
    return Regressed(EFFECTS, Chosen(of_perturbations, of_contexts, None))


def test_contexts_are_looked_at_where_the_perturbation_was_measured_in_another_one_and_else_perturbations():
    rows = {"nearest": row(judged(0.5), judged(0.4)), "ridge": row(judged(0.6), judged(0.3))}
    assert preferred(rows, Condition(("a",), Y)) == "ridge"
    assert preferred(rows, Condition(("c",), X)) == "nearest"
    assert preferred(rows, Condition(("a", "c"), X)) == "nearest"


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
