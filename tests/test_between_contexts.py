"""What effects in several contexts tell of another one there: against planted truths."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from gensim.baselines.regressions import Regressed, preferred, regression_rows
from gensim.perturbations.between_contexts import Shared, candidates
from gensim.perturbations.choose_regression import (
    along_with_others,
    choose_for_contexts,
    choose_regressions,
    over_contexts,
)
from gensim.perturbations.chosen import Chosen, Judged
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.control_populations import ControlPopulations
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness, MeasuredConditions, Predictor
from gensim.perturbations.penetrance import ALL_RESPOND
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import ONE_HOT, VectorTable
from gensim.types import Condition

F = 50
KNOCK_OUT, ACTIVATION, OTHER = ((("modality", m),) for m in ("knock_out", "activation", "other"))
NAMES = tuple(f"P{i}" for i in range(12))
ONE = VectorTable(NAMES, np.zeros((len(NAMES), 0), np.float32), ONE_HOT)
LAST = NAMES[-1]


def contexts_of(*contexts) -> VectorTable:
    """Control cells that hardly differ."""
    rows = 1 + 0.01 * np.random.default_rng(5).normal(size=(len(contexts), 3))
    return VectorTable(tuple(Condition((), c).key for c in contexts), rows.astype(np.float32), "contexts")


def planted(factors: dict, noise: float = 0.2, n: int = len(NAMES), seed: int = 0, missing=()) -> tuple:
    """(n, F) effects of mean squared length 1, times a factor in each context, and what was measured of them with noise
    of that squared length, but for the (name, context) that are missing."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(n, F)) / np.sqrt(F)
    conditions, rows = [], []
    for i, context in ((i, c) for i in range(n) for c in factors):
        measured = factors[context] * e[i] + np.sqrt(noise / F) * rng.normal(size=F)
        if (NAMES[i], context) not in missing:
            conditions.append(Condition((NAMES[i],), context))
            rows.append(measured)
    typical = np.mean([f**2 for f in factors.values()])
    variance = np.full(len(rows), noise / typical, np.float32)
    return e, MeanEffects(tuple(conditions), np.array(rows, np.float32), variance=variance)


def told(effects: MeanEffects, contexts: VectorTable, *, between: bool = True) -> MeanEffects:
    chosen = choose_regressions(effects, ONE, contexts, ["none", "mean", "ridge"])
    chosen = chosen if between else replace(chosen, between=None)
    return effects.informed(replace(chosen.likeness(ONE, contexts), variance=effects.variances))


def test_an_activation_does_the_opposite_of_a_knock_out():
    """The slope of effects known with noise v on those behind them is 1 / (1 + v)."""
    missing = [(LAST, ACTIVATION)]
    e, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8}, 0.02, missing=missing)
    contexts = contexts_of(KNOCK_OUT, ACTIVATION)
    asked = Condition((LAST,), ACTIVATION)
    found = told(effects, contexts).shift(asked)
    assert np.linalg.norm(found + 0.8 * e[-1]) < 0.15 * np.linalg.norm(e[-1])
    before = told(effects, contexts, between=False).shift(asked)
    assert before @ e[-1] > 0, "the effect in a single other context is taken as it is"
    chosen = choose_regressions(effects, ONE, contexts, ["none", "mean", "ridge"])
    assert chosen.between.unexplained < 0.1
    (words,) = [line for line in chosen.in_words() if "go along" in line]
    assert f"in 2 contexts, noise {chosen.between.regression.noise:g}; it leaves " in words


def test_what_is_surely_measured_counts_and_what_is_noise_does_not():
    missing = [(LAST, ACTIVATION)]
    e, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8}, 0.02, missing=missing)
    rows = [c.perturbations == (LAST,) for c in effects.conditions]
    unsure = replace(effects, variance=np.where(rows, 100, effects.variance).astype(np.float32))
    knowing = told(effects, contexts_of(KNOCK_OUT, ACTIVATION))
    unsure = knowing.informed(replace(knowing.likeness, variance=unsure.variances))
    shift = [of.shift(Condition((LAST,), ACTIVATION)) for of in (knowing, unsure)]
    sure, less = (float(-of @ e[-1] / (e[-1] @ e[-1])) for of in shift)
    assert sure == pytest.approx(0.8, abs=0.1)
    assert 0 < less < 0.02


def test_contexts_that_are_alike_tell_their_mean():
    x, y, z = ((("cell_type", c),) for c in "xyz")
    _, effects = planted(dict.fromkeys((x, y, z), 1.0), 0.05, missing=[(LAST, z)])
    along = along_with_others(effects, contexts_of(x, y, z), Judged(Regression("none"), 1.0))
    knowing = effects.informed(replace(told(effects, contexts_of(x, y, z)).likeness, between=along.predictor()))
    others = [effects.shift(Condition((LAST,), c)) for c in (x, y)]
    np.testing.assert_allclose(knowing.shift(Condition((LAST,), z)), np.mean(others, axis=0), atol=0.03)


def test_a_context_without_perturbed_cells_is_told_as_before():
    _, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8})
    contexts = contexts_of(KNOCK_OUT, ACTIVATION, OTHER)
    with_it, without = told(effects, contexts), told(effects, contexts, between=False)
    assert with_it.likeness.between is not None
    np.testing.assert_array_equal(with_it.shift(Condition((LAST,), OTHER)), without.shift(Condition((LAST,), OTHER)))
    # So is one whose perturbed cells are left aside, and what was measured stays as it was.
    hidden = Condition((), ACTIVATION)
    asked = Condition((LAST,), ACTIVATION)
    np.testing.assert_array_equal(
        with_it.without_context(hidden).shift(asked), without.without_context(hidden).shift(asked)
    )
    np.testing.assert_array_equal(with_it.shift(asked), without.shift(asked))


def test_one_context_held_out_has_nothing_else_to_choose_by():
    """Nor have contexts with one perturbation each: Kang's cell types are told by their vectors alone."""
    x, y, z = ((("cell_type", c),) for c in "xyz")
    _, effects = planted(dict.fromkeys((x, y, z), 1.0), n=1)
    chosen = choose_regressions(effects, ONE, contexts_of(x, y, z))
    assert chosen.between is None
    assert chosen.contexts.unexplained is not None


@pytest.mark.parametrize(("shared", "tells"), [(2, False), (3, True)])
def test_contexts_that_share_few_perturbations_are_told_as_before(shared, tells):
    missing = [(name, ACTIVATION) for name in NAMES[shared:]]
    _, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8}, 0.01, missing=missing)
    contexts = contexts_of(KNOCK_OUT, ACTIVATION)
    instead = Judged(Regression("none", shrunk=True), 1.0)
    assert (along_with_others(effects, contexts, instead) is not None) == tells
    asked = Condition((LAST,), ACTIVATION)
    same = np.array_equal(told(effects, contexts).shift(asked), told(effects, contexts, between=False).shift(asked))
    assert same != tells


def test_of_contexts_those_that_share_too_few_with_any_are_left_aside():
    """knock_out and activation share all; other has two, and is told of and tells by vectors."""
    missing = [(name, OTHER) for name in NAMES[2:]]
    _, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8, OTHER: 1.0}, 0.01, missing=missing)
    along = along_with_others(effects, contexts_of(KNOCK_OUT, ACTIVATION, OTHER), Judged(Regression("none"), 1.0))
    assert set(along.places) == {Condition((), c).key for c in (KNOCK_OUT, ACTIVATION)}


def groups_of(effects: MeanEffects) -> list:
    groups: dict = {}
    for c in effects.conditions:
        groups.setdefault((c.perturbations, c.dose), {})[c.control.key] = c
    return list(groups.values())


def test_what_is_left_out_tells_nothing_of_itself():
    _, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8, OTHER: 0.5})
    changed = np.array([c.perturbations == (LAST,) and c.context == ACTIVATION for c in effects.conditions])
    other = replace(effects, delta=effects.delta + 1e6 * changed[:, None].astype(np.float32))
    weights = []
    for of in (effects, other):
        group = groups_of(of)[-1]
        shared = Shared(of, groups_of(of))
        assert not np.allclose(shared.places(), Shared(effects, groups_of(effects)).places((LAST,)))
        told, found = shared.left_out_weights(list(candidates()), group, sorted(group), np.full(3, 0.1))
        assert told.all()
        weights.append(np.stack(found))
    np.testing.assert_array_equal(*weights)
    assert not weights[0][:, range(3), range(3)].any()
    # Nor do all of its effects, in whatever context.
    rows = np.array([c.perturbations == (LAST,) for c in effects.conditions])
    huge = replace(effects, delta=np.where(rows[:, None], 1e6, effects.delta).astype(np.float32))
    places = [Shared(of, groups_of(of)).places((LAST,)) for of in (effects, huge)]
    np.testing.assert_array_equal(*places)


def test_how_effects_go_along_by_hand():
    """Effects (2, 0) and (0, 1) in x, (-1, 0), (0, 3) in y, at one dose: products -2 and 3; squares 4, 1 and 1, 9.

    Their mean squared length is 15 / 4.
    """
    x, y = ((("line", c),) for c in "xy")
    rows = {("a", x, 1.0): (2, 0), ("a", y, 1.0): (-1, 0), ("b", x, 1.0): (0, 1), ("b", y, 1.0): (0, 3)}
    conditions = tuple(Condition((name,), context, dose) for name, context, dose in rows)
    effects = MeanEffects(conditions, np.array(list(rows.values()), np.float32))
    groups = groups_of(effects)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gensim.perturbations.between_contexts.FEWEST_SHARED", 2)
        shared = Shared(effects, groups)
    k = shared.places() @ shared.places().T
    np.testing.assert_allclose(k, np.array([[5 / 2, 1 / 2], [1 / 2, 10 / 2]]) / (15 / 4))
    # Without b, whose own length is not known either: 4, -2 and 1 of a mean squared length of 5 / 2.
    k = shared.places(("b",)) @ shared.places(("b",)).T
    np.testing.assert_allclose(k, np.array([[4, -2], [-2, 1]]) / (5 / 2), atol=1e-12)


@pytest.mark.parametrize("by", ["v", "noise"])
def test_noise_is_no_part_of_how_effects_go_along(by):
    """As much noise as effect in each, the average of 40 draws of (1, -0.5)."""
    factors = {ACTIVATION: 1.0, KNOCK_OUT: -0.5}
    found, typical = [], (1 + 0.25) / 2
    for seed in range(40):
        _, effects = planted(factors, noise=0.6, seed=seed)
        if by == "noise":
            # What v is given in does not matter where the noise itself is known: here in half the units.
            half = np.full((len(effects.conditions), 2), 0.3, np.float32)
            effects = replace(effects, noise=half, variance=effects.variance / 2)
        shared = Shared(effects, groups_of(effects))
        found.append(shared.places() @ shared.places().T)
    f = np.array([{Condition((), c).key: factor for c, factor in factors.items()}[name] for name in shared.names])
    unit = typical * (2 if by == "noise" else 1)
    np.testing.assert_allclose(np.mean(found, axis=0), np.outer(f, f) / unit, rtol=0.1)


def test_effects_at_random_are_not_followed():
    """As on a screen whose effects are all noise: what one context shows is not expected in another."""
    missing = [(LAST, ACTIVATION)]
    _, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: 1.0}, missing=missing)
    contexts, asked, followed = contexts_of(KNOCK_OUT, ACTIVATION), Condition((LAST,), ACTIVATION), 0
    for seed in range(20):
        drawn = np.random.default_rng(seed).normal(size=effects.delta.shape).astype(np.float32) / np.sqrt(F)
        noise = replace(effects, delta=drawn)
        between = along_with_others(noise, contexts, over_contexts(noise, contexts))
        assert between is None or between.unexplained > 0.9
        if between is not None and between.regression.kind == "none":
            assert "no effect; it leaves 100% of" in between.in_words()
            assert told(noise, contexts).shift(Condition((LAST,), KNOCK_OUT)).any()
        followed += bool(told(noise, contexts).shift(asked).any())
    assert followed < 3


def test_words_of_a_run_bring_back_what_was_chosen(tmp_path):
    missing = [(LAST, ACTIVATION)]
    _, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8}, 0.02, missing=missing)
    contexts, asked = contexts_of(KNOCK_OUT, ACTIVATION), Condition((LAST,), ACTIVATION)
    chosen = choose_regressions(effects, ONE, contexts, ["none", "mean", "ridge"])
    likeness = chosen.likeness(ONE, contexts)
    populations = ControlPopulations(dict(zip(contexts.names, contexts.vectors, strict=True)))
    book = Codebook.fit(effects.conditions, ["modality"], [], ONE, effects, ALL_RESPOND, likeness, populations)
    expected = effects.informed(replace(likeness, variance=effects.variances)).shift(asked)
    assert expected.any()
    book.save(tmp_path)
    again = Codebook.load(tmp_path)
    np.testing.assert_array_equal(again.effects.shift(asked), expected)
    of_file = json.loads(json.dumps(asdict(chosen)))
    settings = {over: found and found.get("regression", found) for over, found in of_file.items()}
    read = again.told({**settings, "between": of_file["between"]})
    known = effects.informed(replace(read, variance=effects.variances))
    np.testing.assert_array_equal(known.shift(asked), expected)


def test_in_a_time_course_it_is_what_perturbations_do_beyond_development():
    """Unperturbed cells develop by u in either modality; a knock-out adds e, an activation -0.8 e, at each time."""
    rng = np.random.default_rng(3)
    u, e = 5 * rng.normal(size=F), rng.normal(size=(len(NAMES), F))
    conditions, rows = [], []
    for context, factor in ((KNOCK_OUT, 1.0), (ACTIVATION, -0.8)):
        for time in (1.0, 2.0):
            conditions.append(Condition((), context, None, time))
            rows.append(time * u)
            for i, name in enumerate(NAMES):
                if (name, context) != (LAST, ACTIVATION):
                    conditions.append(Condition((name,), context, None, time))
                    rows.append(time * (u + factor * e[i]))
    effects = MeanEffects(tuple(conditions), np.array(rows, np.float32))
    found = told(effects, contexts_of(KNOCK_OUT, ACTIVATION)).shift(Condition((LAST,), ACTIVATION, None, 1.5))
    np.testing.assert_allclose(found, 1.5 * (u - 0.8 * e[-1]), atol=0.15)
    # On genes around the latents contexts are chosen for by themselves, and development is no more an effect there.
    contexts = contexts_of(KNOCK_OUT, ACTIVATION)
    by_itself, chosen = choose_for_contexts(effects, contexts), choose_regressions(effects, ONE, contexts)
    assert by_itself == (chosen.contexts, chosen.between)
    assert chosen.between.unexplained < 0.1


def test_of_the_rows_of_an_evaluation_it_is_a_ridge_regression():
    missing = [(LAST, ACTIVATION)]
    e, effects = planted({KNOCK_OUT: 1.0, ACTIVATION: -0.8}, 0.02, missing=missing)
    contexts = contexts_of(KNOCK_OUT, ACTIVATION)
    likeness = choose_regressions(effects, ONE, contexts, ["ridge"]).likeness(ONE, contexts)
    book = Codebook.fit(effects.conditions, ["modality"], [], ONE, effects, ALL_RESPOND, likeness)
    asked = Condition((LAST,), ACTIVATION)
    rows = regression_rows(book, effects, [asked])
    assert [row for row, of in rows.items() if of.chosen.between is not None] == ["ridge"]
    assert preferred(rows, asked) == "ridge"
    assert rows["ridge"].effects.shift(asked) @ e[-1] < -0.5
    # Elsewhere the regression over contexts is asked.
    worse = Chosen(None, Judged(Regression("ridge"), 0.9), None, rows["ridge"].chosen.between)
    better = Chosen(None, Judged(Regression("nearest"), 0.5), None)
    both = {"nearest": Regressed(effects, better), "ridge": Regressed(effects, worse)}
    assert preferred(both, asked) == "ridge"
    assert preferred(both, Condition((LAST,), OTHER)) == "nearest"


NOTHING = Predictor(Regression("none", as_given=True), contexts_of(KNOCK_OUT, ACTIVATION))


def test_where_nothing_carries_over_a_combination_is_the_sum_of_members_that_were_measured_here():
    conditions = [Condition((name,), ACTIVATION) for name in "AB"] + [Condition(("A", "B"), KNOCK_OUT)]
    measured = MeasuredConditions(conditions, Likeness(between=NOTHING))
    assert measured.weights(Condition(("A", "B"), ACTIVATION)) == {(0, True): 1.0, (1, True): 1.0}
    alone = MeasuredConditions([conditions[0], conditions[2]], Likeness(between=NOTHING))
    assert alone.weights(Condition(("A", "B"), ACTIVATION)) == {}


def test_what_was_measured_elsewhere_alone_is_not_taken_for_nothing_by_vectors():
    """E is told in activation by A alone, as if B and C had not been knocked out."""
    table = VectorTable(("A", "B", "C", "E"), np.array([[1, 0], [0, 1], [0, 2], [1, 0.1]], np.float32), "a test")
    vectors = Predictor(Regression("ridge", intercept=True), table)
    here = [Condition(("A",), ACTIVATION)]
    elsewhere = [Condition((name,), KNOCK_OUT) for name in "BC"]
    asked, knowing = Condition(("E",), ACTIVATION), Likeness(perturbations=vectors, between=NOTHING)
    alone = MeasuredConditions(here, knowing).weights(asked)
    assert MeasuredConditions([*here, *elsewhere], knowing).weights(asked) == alone != {}
    assert MeasuredConditions([*elsewhere, Condition(("B", "C"), ACTIVATION)], knowing).weights(asked) == {}


def test_what_nothing_is_expected_of_is_borrowed_in_any_combination():
    """So that counts are brought to what is expected of it, and not left where latents lead them."""
    conditions = (Condition(("A",), ACTIVATION), Condition(("E",), KNOCK_OUT))
    effects = MeanEffects(conditions, np.ones((2, F), np.float32), likeness=Likeness(between=NOTHING))
    borrowed = {names: effects.are_borrowed(Condition(tuple(names), ACTIVATION)) for names in ("A", "E", "AE")}
    assert borrowed == {"A": False, "E": True, "AE": True}
    assert not effects.are_borrowed(Condition(("E",), ACTIVATION, 0.0))
