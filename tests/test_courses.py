"""Effects at any time: between times, of what has no course, and of development, which nothing counts twice."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from gensim.perturbations.choose_regression import choose_regressions
from gensim.perturbations.courses import MeasuredCourses
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import VectorTable, one_hot_table
from gensim.types import Condition

B_CELL, T_CELL = (("cell_type", "B"),), (("cell_type", "T"),)


def at(time, *names, context=B_CELL, dose=None):
    return Condition(names, context, dose, time)


# A in B cells at 2, 6 and 24, in T cells at 6; D at 2 and 12.
MEASURED = (
    *(at(time, "A") for time in (2.0, 6.0, 24.0)),
    at(6.0, "A", context=T_CELL),
    *(at(time, "D") for time in (2.0, 12.0)),
)


@pytest.mark.parametrize(
    ("condition", "weights"),
    [
        (at(6.0, "A"), {1: 1.0}),
        (at(12.0, "A"), {1: 2 / 3, 2: 1 / 3}),
        (at(1.0, "A"), {0: 0.5}),
        (at(99.0, "A"), {2: 1.0}),
        (at(24.0, "D"), {5: 1.0}),
        (at(2.0, "A", context=T_CELL), {3: 1 / 3}),
        # A+D is the sum of both, each along its own course.
        (at(2.0, "A", "D"), {0: 1.0, 4: 1.0}),
        (at(12.0, "A", "D"), {1: 2 / 3, 2: 1 / 3, 5: 1.0}),
        # D in T cells does what it does in B cells, and another dose of A what A does there.
        (at(7.0, "D", context=T_CELL), {4: 0.5, 5: 0.5}),
        (at(12.0, "A", dose=3.0), {1: 2 / 3, 2: 1 / 3}),
        (at(12.0, "A", context=(("cell_type", "new"),)), {1: 1 / 3, 2: 1 / 6, 3: 1 / 2}),
        (at(0.0, "A"), {}),
        (at(None), {}),
    ],
)
def test_weights_along_courses(condition, weights):
    found = MeasuredCourses(MEASURED).weights(condition)
    assert len({k for k, _ in found}) == len(found)
    assert {k: w for (k, _), w in found.items()} == pytest.approx(weights)


def effects_of(conditions, *deltas, likeness=None):
    effects = MeanEffects(tuple(conditions), np.array(deltas, dtype=np.float32))
    return effects if likeness is None else effects.informed(likeness)


def test_effects_between_times_lie_on_a_line():
    effects = effects_of(MEASURED, *np.arange(12).reshape(6, 2))
    ends = [effects.shift(at(time, "A")) for time in (6.0, 24.0)]
    np.testing.assert_allclose(effects.shift(at(15.0, "A")), sum(ends) / 2)


def test_development_is_counted_once():
    """Unperturbed cells gain 10 in gene 1 by 24; A and D do 1 in genes 0 and 2 beside that."""
    effects = effects_of((at(24.0, "A"), at(24.0, "D"), at(24.0)), [1, 10, 0], [0, 10, 1], [0, 10, 0])
    np.testing.assert_allclose(effects.shift(at(24.0, "A", "D")), [1, 10, 1])
    np.testing.assert_allclose(effects.shift(at(12.0, "A", "D")), [0.5, 5, 0.5])
    np.testing.assert_allclose(effects.shift(at(24.0, "A")), [1, 10, 0])
    # Dose 0 does nothing but let time pass.
    np.testing.assert_allclose(effects.shift(at(24.0, "A", dose=0.0)), [0, 10, 0])


def test_a_regression_shrinks_what_a_perturbation_does_and_not_the_development():
    """Ridge with a huge penalty expects nothing of E, which leaves development."""
    table = VectorTable(("A", "D", "E"), np.array([[1.0], [2.0], [1.5]], np.float32), "test")
    ridge = Likeness(perturbations=Predictor(Regression("ridge", noise=1e9, intercept=False), table))
    conditions = (at(24.0, "A"), at(24.0, "D"), at(24.0))
    effects = effects_of(conditions, [1, 10, 0], [0, 10, 1], [0, 10, 0], likeness=ridge)
    np.testing.assert_allclose(effects.shift(at(24.0, "E")), [0, 10, 0], atol=1e-5)


def test_development_of_another_context_stays_there():
    """T cells gain 20, B cells 10; A does 1 beside that, and was measured in B cells alone."""
    conditions = (at(24.0, "A"), at(24.0), at(24.0, context=T_CELL))
    effects = effects_of(conditions, [1, 10], [0, 10], [0, 20])
    np.testing.assert_allclose(effects.shift(at(24.0, "A", context=T_CELL)), [1, 20])


def test_regressions_are_chosen_on_what_is_beyond_development():
    conditions = (at(24.0, "A"), at(24.0, "D"), at(24.0))
    effects = effects_of(conditions, [1, 10, 0], [0, 10, 1], [0, 10, 0]).beyond_development()
    assert effects.conditions == conditions[:2]
    np.testing.assert_allclose(effects.delta, [[1, 0, 0], [0, 0, 1]])
    without = effects_of(conditions[:2], [1, 10], [0, 10])
    assert without.beyond_development() is without


def test_beyond_development_the_developed_take_the_place_of_the_controls():
    """At 24 hours they share the error of the unperturbed; at 48, where there are none, that of the controls."""
    conditions = (at(24.0, "A"), at(24.0), at(48.0, "A"))
    noise = np.array([[1, 9], [2, 9], [3, 9]], np.float32)
    effects = replace(effects_of(conditions, [1, 10], [0, 10], [2, 10]), noise=noise).beyond_development()
    assert effects.conditions == (conditions[0], conditions[2])
    assert effects.noise.tolist() == [[1, 2], [3, 9]]


def test_choosing_takes_nothing_from_time_0_or_dose_0():
    """The effects there are noise a hundred times as long as the others; without them the choice is the same."""
    rng = np.random.default_rng(0)
    cell_types = (B_CELL, T_CELL, (("cell_type", "K"),))
    measured = product("ADE", (0.0, 2.0, 6.0), (1.0, 4.0), cell_types)
    conditions = [at(time, name, dose=dose, context=context) for name, time, dose, context in measured]
    deltas = rng.normal(size=(len(conditions), 3)) * [[100.0 if c.time == 0 else 1.0] for c in conditions]
    contexts = VectorTable(tuple(sorted({c.control.key for c in conditions})), np.eye(3, dtype=np.float32), "test")
    kept = [k for k, c in enumerate(conditions) if c.time != 0]
    chosen = [
        choose_regressions(effects_of([conditions[k] for k in rows], *deltas[rows]), one_hot_table("ADE"), contexts)
        for rows in (list(range(len(conditions))), kept)
    ]
    assert chosen[0] == chosen[1]


def test_between_measured_times_an_effect_has_the_variance_of_a_weighted_sum():
    class Doses:
        seen = ()

        def weights(self, measured, v, dose):
            self.seen = (measured.tolist(), v.tolist(), dose)
            return np.array([0.5, 0.5])

    measured = [at(time, "A", dose=dose) for dose in (1.0, 3.0) for time in (2.0, 6.0)]
    doses = Doses()
    likeness = Likeness(doses=doses, variance=dict(zip(measured, (1.0, 2.0, 4.0, 8.0), strict=True)))
    found = MeasuredCourses(measured, likeness).weights(at(3.0, "A", dose=2.0))
    # At 3, a quarter of the way from 2 to 6: 3/4 of the one effect and 1/4 of the other.
    assert {k: w for (k, _), w in found.items()} == pytest.approx({0: 3 / 8, 1: 1 / 8, 2: 3 / 8, 3: 1 / 8})
    levels, variances, dose = doses.seen
    assert (levels, dose) == ([1.0, 3.0], 2.0)
    assert variances == pytest.approx([9 / 16 * 1.0 + 1 / 16 * 2.0, 9 / 16 * 4.0 + 1 / 16 * 8.0])
