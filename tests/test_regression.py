"""Regressions over perturbations: against formulas written out, scikit-learn, and planted truths."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from gensim.perturbations.choose_regression import over_contexts, over_perturbations
from gensim.perturbations.dose_response import ALL_DOSES, DoseResponse
from gensim.perturbations.mean_effects import MeanEffects, fit_mean_effects
from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.regression import (
    KINDS,
    MeasuredVectors,
    Regression,
    Weights,
    candidates,
    left_out_weights,
)
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition

RNG = np.random.default_rng(0)
N, F = 12, 4
NAMES = tuple(f"G{i:02d}" for i in range(N))
ZEROS, SOME = np.zeros(N), np.linspace(0, 2, N)
TABLE = VectorTable(NAMES, RNG.normal(size=(N, F)).astype(np.float32), "table")


def effects_of(delta: np.ndarray, names: tuple[str, ...] = NAMES, context: tuple = (), dose=None) -> MeanEffects:
    return MeanEffects(tuple(Condition((n,), context, dose) for n in names), delta.astype(np.float32))


def test_vectors_are_centred_and_have_mean_squared_length_1():
    vectors = MeasuredVectors(TABLE, NAMES[:8], unit=False)
    np.testing.assert_allclose(vectors.x.mean(axis=0), 0, atol=1e-7)
    assert np.square(vectors.x).sum(axis=1).mean() == pytest.approx(1)
    np.testing.assert_allclose(vectors.of(NAMES[:8]), vectors.x)


def test_unit_vectors_do_not_know_lengths():
    longer = VectorTable(NAMES, TABLE.vectors * np.arange(1, N + 1, dtype=np.float32)[:, None], "longer")
    same, other = (MeasuredVectors(t, NAMES[:8], unit=True).of(NAMES) for t in (TABLE, longer))
    np.testing.assert_allclose(same, other, atol=1e-6)


def test_of_joined_tables_one_may_tell_or_all():
    """c is near a in the first table and near b in the second, where b and c lie together; d is in the second alone."""
    table = VectorTable(
        ("a", "b", "c", "d"),
        np.array([[1, 0.5], [-2, -1], [1.1, -1], [0, 1.5]], np.float32),
        "two",
        widths=(1, 1),
    )
    for source, expected in ((0, [1, 0]), (1, [0, 1])):
        weights = Weights(Regression("nearest", source=source), table, ("a", "b"), ZEROS[:2])
        assert weights.of(["c"])[0].tolist() == expected
    both = MeasuredVectors(table, ("a", "b"), unit=False)
    # Each table has mean squared length 1 / 2 among the measured; what d lacks is at their centre.
    np.testing.assert_allclose(np.square(both.x).mean(axis=0), [0.5, 0.5])
    assert both.of(["d"])[0, 0] == 0
    alone = MeasuredVectors(table, ("a", "b"), unit=False, source=1)
    np.testing.assert_allclose(alone.x[:, 0], both.x[:, 1] * np.sqrt(2))


def test_nearest_by_hand():
    table = VectorTable(("a", "b", "c", "new"), np.array([[0.0], [1], [10], [2]], np.float32), "line")
    weights = Weights(Regression("nearest", neighbours=2), table, ("a", "b", "c"), ZEROS[:3])
    assert weights.of(["new"]).tolist() == [[0.5, 0.5, 0]]
    everything = Weights(Regression("nearest", neighbours=20), table, ("a", "b", "c"), ZEROS[:3])
    assert everything.of(["new"]).tolist() == [[1 / 3, 1 / 3, 1 / 3]]


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_kernel_ridge_is_the_mean_of_a_gaussian_process(noise):
    """exp(-d² / (4 reach²)) is scikit-learn's RBF with length scale reach √2."""
    measured, y = NAMES[:8], RNG.normal(size=(8, 3))
    regression = Regression("kernel_ridge", noise=noise, reach=0.7)
    vectors = MeasuredVectors(TABLE, measured, unit=False)
    process = GaussianProcessRegressor(RBF(0.7 * np.sqrt(2)), alpha=noise + SOME[:8], optimizer=None).fit(vectors.x, y)
    found = Weights(regression, TABLE, measured, SOME[:8]).of(NAMES[8:]) @ y
    np.testing.assert_allclose(found, process.predict(vectors.of(NAMES[8:])), atol=1e-8)


def test_ridge_is_ridge():
    """w = (X'X + noise)^-1 X'y in the features."""
    measured, y = NAMES[:8], RNG.normal(size=(8, 3))
    vectors = MeasuredVectors(TABLE, measured, unit=True)
    x, new = vectors.x, vectors.of(NAMES[8:])
    expected = new @ np.linalg.solve(x.T @ x + 0.3 * np.eye(F), x.T @ y)
    found = Weights(Regression("ridge", unit=True, noise=0.3), TABLE, measured, ZEROS[:8]).of(NAMES[8:]) @ y
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_with_an_intercept_equal_effects_are_predicted_for_all():
    y = np.full((8, 1), 5.0)
    for kind in ("ridge", "kernel_ridge"):
        weights = Weights(Regression(kind, noise=1.0, intercept=True), TABLE, NAMES[:8], ZEROS[:8])
        np.testing.assert_allclose(weights.of(NAMES[8:]) @ y, 5, rtol=5e-3)
        without = Weights(Regression(kind, noise=1.0), TABLE, NAMES[:8], ZEROS[:8])
        assert (np.abs(without.of(NAMES[8:]) @ y) < 4.9).all()


@pytest.mark.parametrize("regression", list(candidates()), ids=str)
def test_left_out_weights_are_those_of_a_fit_without_the_row(regression):
    """With vectors placed as all of them were: what is left out is the effect."""
    x = MeasuredVectors(TABLE, NAMES, regression.unit).x
    weights = left_out_weights(regression, x, SOME)
    assert not np.diag(weights).any()
    for i in (0, N - 1):
        others = np.delete(np.arange(N), i)
        if regression.kind == "none":
            expected = np.zeros(N - 1)
        elif regression.kind == "mean":
            expected = np.full(N - 1, 1 / (N - 1))
        elif regression.kind == "nearest":
            order = np.argsort(np.linalg.norm(x[others] - x[i], axis=1))
            expected = np.zeros(N - 1)
            expected[order[: regression.neighbours]] = 1 / min(regression.neighbours, N - 1)
        else:
            kernel = _kernel(regression, x)
            noisy = kernel[np.ix_(others, others)] + np.diag(regression.noise + SOME[others])
            expected = np.linalg.solve(noisy, kernel[others, i])
        np.testing.assert_allclose(weights[i, others], expected, atol=1e-6)


def _kernel(regression: Regression, x: np.ndarray) -> np.ndarray:
    if regression.kind == "ridge":
        return x @ x.T + 100 * regression.intercept
    squared = np.square(x[:, None] - x[None]).sum(axis=2)
    return np.exp(-squared / (4 * regression.reach**2)) + 100 * regression.intercept


def test_informative_vectors_are_used_and_random_ones_are_not():
    """Effects that are linear in the vectors, in 30 dimensions, of 40 perturbations."""
    rng = np.random.default_rng(1)
    names = tuple(f"P{i}" for i in range(40))
    x = rng.normal(size=(40, 5)).astype(np.float32)
    effects = effects_of(x @ rng.normal(size=(5, 30)), names)
    informed = over_perturbations(effects, VectorTable(names, x, "informative"))
    assert informed.unexplained < 0.05
    guess = VectorTable(names, rng.normal(size=(40, 5)).astype(np.float32), "random")
    assert over_perturbations(effects, guess).unexplained > 0.9
    for kind, most in [("mean", 1.2), ("nearest", 1.2), ("ridge", 1.0), ("kernel_ridge", 1.0)]:
        assert 0.9 < over_perturbations(effects, guess, [kind]).unexplained < most


def test_a_perturbation_is_left_out_in_all_its_contexts():
    """Equal effects in two contexts, vectors without information: who saw the other context would explain all."""
    effects = in_contexts(RNG.normal(size=(N, 30)), RNG.normal(size=(N, 30)) * 0, ("x", "y"))
    assert over_perturbations(effects, TABLE).unexplained > 0.9


def in_contexts(common: np.ndarray, per_context: np.ndarray, contexts: tuple[str, ...], dose=None) -> MeanEffects:
    """(N, F) effects that contexts share, plus the i-th row of (contexts, F) for all perturbations of context i."""
    conditions = tuple(Condition((n,), (("line", c),), dose) for c in contexts for n in NAMES)
    delta = np.concatenate([common + per_context[i] for i in range(len(contexts))])
    return MeanEffects(conditions, delta.astype(np.float32))


def test_a_context_is_left_out_with_all_that_it_shares_with_itself():
    """Effects that follow a vector are predicted; where vectors say nothing, the mean of the others is best."""
    names = tuple("stuvwxyz")
    keys = tuple(Condition((), (("line", c),)).key for c in names)
    x = np.linspace(-1, 1, 8)[:, None]
    table = VectorTable(keys, x.astype(np.float32), "contexts")
    direction = RNG.normal(size=(1, 30))
    effects = in_contexts(0 * RNG.normal(size=(N, 30)), 3 * x @ direction, names)
    assert over_contexts(effects, table).unexplained < 0.05
    common = in_contexts(RNG.normal(size=(N, 30)), 0 * x @ direction, names)
    assert over_contexts(common, table).unexplained < 1e-3
    noise = RNG.normal(size=(len(names) * N, 30)).astype(np.float32)
    assert over_contexts(MeanEffects(common.conditions, noise), table).unexplained > 0.95


def in_two_contexts(n: int, common: float) -> tuple[MeanEffects, VectorTable]:
    """n perturbations, each in contexts x and y: a share of their squared effects is the same in both."""
    rng = np.random.default_rng(0)
    same, own = rng.normal(size=(n, 1, 200)), rng.normal(size=(n, 2, 200))
    delta = np.sqrt(common) * same + np.sqrt(1 - common) * own
    contexts = [(("line", c),) for c in "xy"]
    conditions = tuple(Condition((f"p{i}",), context) for i in range(n) for context in contexts)
    table = VectorTable(tuple(Condition((), c).key for c in contexts), np.eye(2, dtype=np.float32), "contexts")
    return MeanEffects(conditions, delta.reshape(2 * n, 200).astype(np.float32)), table


def test_two_contexts_tell_whether_one_says_anything_of_the_other():
    """Taking the other's effect leaves 2 (1 - common) unexplained, taking its expectation 1 - common²."""
    alike, of_nothing, half = (over_contexts(*in_two_contexts(6, common)) for common in (1.0, 0.0, 0.5))
    assert alike.unexplained < 1e-3
    assert 0.95 < of_nothing.unexplained < 1.001
    assert 0.7 < half.unexplained < 0.85


def test_two_contexts_of_two_perturbations_are_too_few_to_choose_from():
    judged = over_contexts(*in_two_contexts(2, 0.0))
    assert (judged.regression, judged.unexplained) == (Regression("mean"), None)


def test_the_share_left_unexplained_by_hand():
    """Effects 1, 2 and 6: the mean of the two others is 4, 3.5 and 1.5, so (9 + 2.25 + 20.25) / 41."""
    plain = np.array([[1.0], [2], [6]], np.float32)
    effects = effects_of(plain, NAMES[:3])
    assert over_perturbations(effects, TABLE, ["mean"]).unexplained == pytest.approx(31.5 / 41)
    # Shrunk to one half: 2, 1.75 and 0.75 against 1, 2 and 6 leave 28.625 of 41.
    shrunk = MeanEffects(effects.conditions, plain / 2, plain)
    judged = over_perturbations(shrunk, TABLE, ["mean"])
    assert (judged.regression.shrunk, judged.unexplained) == (True, pytest.approx(28.625 / 41))
    # An effect of variance 2 counts a third: (9 + 2.25 + 20.25 / 3) of 1 + 4 + 36 / 3.
    noisy = MeanEffects(effects.conditions, plain, variance=np.array([0, 0, 2], np.float32))
    assert over_perturbations(noisy, TABLE, ["mean"]).unexplained == pytest.approx(18 / 17)
    # Controls whose mean has variance 0.5: each prediction's weights sum to 1, so that each error is 2 x 0.5 too small.
    noise = np.array([[0, 0.5]] * 3, np.float32)
    common = MeanEffects(effects.conditions, plain, noise=noise)
    assert over_perturbations(common, TABLE, ["mean"]).unexplained == pytest.approx(34.5 / 41)
    both = MeanEffects(effects.conditions, plain / 2, plain, noise=noise)
    assert over_perturbations(both, TABLE, ["mean"]).unexplained == pytest.approx(30.125 / 41)


def cells_without_effect(seed: int, n_controls: int = 40, doses: tuple[float | None, ...] = (None,)) -> MeanEffects:
    """Of 12 perturbations that do nothing, 40 cells of each, by turns at the doses."""
    rng = np.random.default_rng(seed)
    perturbed = [Condition((name,), (), doses[i % len(doses)]) for i, name in enumerate(NAMES)]
    of = np.concatenate([np.zeros(n_controls, int), np.repeat(np.arange(1, N + 1), 40)])
    cells = rng.normal(size=(len(of), 50)).astype(np.float32)
    return fit_mean_effects(lambda rows: cells[rows], of, [Condition(()), *perturbed], np.arange(len(of)))


@pytest.mark.parametrize(("n_controls", "doses"), [(40, (None,)), (400, (None,)), (40, (1.0, 10.0))])
def test_the_error_that_all_have_of_their_controls_is_not_explained(n_controls, doses):
    """Effects that are noise, half of it the controls', would be half explained by their mean, which is the controls'.

    Against other controls the mean of the others adds e and 1 / 11 to a squared length of 1 + e, where the mean of the
    controls has e times the variance of that of a perturbation. So it does where some were measured at another dose.
    """
    e = 40 / n_controls
    found = [over_perturbations(cells_without_effect(i, n_controls, doses), TABLE, ["mean"]) for i in range(40)]
    expected = (1 + e + e + 1 / 11) / (1 + e)
    assert np.mean([judged.unexplained for judged in found]) == pytest.approx(expected, rel=0.02)
    chosen = [over_perturbations(cells_without_effect(i, n_controls, doses), TABLE).unexplained for i in range(5)]
    assert min(chosen) > 0.9


def test_no_effect_is_expected_where_nothing_tells_one():
    assert str(Regression("none")) == "no effect"
    assert not Weights(Regression("none"), TABLE, NAMES[:8], ZEROS[:8]).of(NAMES[8:]).any()
    x, y, z = ((("line", c),) for c in "xyz")
    table = VectorTable(tuple(Condition((), c).key for c in (x, y, z)), np.eye(3, dtype=np.float32), "contexts")
    effects = MeanEffects(tuple(Condition(("a",), c) for c in (x, y)), np.ones((2, 1), np.float32))
    one = MeanEffects(effects.conditions[:1], effects.delta[:1])
    for known in (effects, one):
        knowing = known.informed(Likeness(contexts=Predictor(Regression("none"), table)))
        assert knowing.shift(Condition(("a",), z)).tolist() == [0]
        assert knowing.are_borrowed(Condition(("a",), z)), "that nothing is expected was told by other contexts"
        assert not knowing.are_borrowed(Condition(("a",), x))
        assert knowing.are_measured_here(Condition(("a",), x, 3.0))
        assert not knowing.are_measured_here(Condition(("a",), z))


def test_shared_errors_are_those_of_the_same_controls():
    """Half of what is expected at another dose is either dose's; what another context tells has errors of its own."""
    x, y = ((("line", c),) for c in "xy")
    conditions = (Condition(("a",), x, 1.0), Condition(("a",), x, 3.0), Condition(("b",), y, 1.0))
    noise = np.array([[9, 1], [9, 3], [9, 5]], np.float32)
    effects = MeanEffects(conditions, np.ones((3, 1), np.float32), noise=noise)
    asked = [
        (conditions[1], 3),
        (Condition(("a",), x, 2.0), 2),
        (Condition(("b",), x, 1.0), 0),
        (Condition(("b",), y), 5),
    ]
    assert [effects.shared_error(condition) for condition, _ in asked] == [expected for _, expected in asked]
    elsewhere = effects.without_context(Condition((), y))
    assert elsewhere.noise.tolist() == noise[:2].tolist()
    assert replace(effects, noise=None).shared_error(conditions[0]) == 0


def test_contexts_have_controls_of_their_own():
    """Nothing is shared where each effect is measured against other cells."""
    common, table = in_two_contexts(8, 1.0)
    noisy = replace(common, noise=np.full((len(common.conditions), 2), 0.5, np.float32))
    assert over_contexts(noisy, table, ["mean"]) == over_contexts(common, table, ["mean"])


def test_spaces_count_alike_and_the_weights_are_those_of_the_first():
    """In one space effects follow the vectors; in another, of effects a hundred times as long, nothing does."""
    rng = np.random.default_rng(4)
    names = tuple(f"P{i}" for i in range(40))
    x = rng.normal(size=(40, 3)).astype(np.float32)
    table = VectorTable(names, x, "informative")
    follow, noise = effects_of(x @ rng.normal(size=(3, 30)), names), effects_of(100 * rng.normal(size=(40, 30)), names)
    alone = over_perturbations(follow, table, ["nearest"])
    both = over_perturbations(follow, table, ["nearest"], noise)
    assert alone.regression.neighbours < both.regression.neighbours, "k neighbours leave 1 + 1/k of noise unexplained"
    shares = [over_perturbations(e, table, ["mean"]).unexplained for e in (follow, noise)]
    assert over_perturbations(follow, table, ["mean"], noise).unexplained == pytest.approx(sum(shares) / 2)
    nothing = effects_of(np.zeros((40, 30)), names)
    assert over_perturbations(follow, table, ["mean"], nothing).unexplained == pytest.approx(shares[0])
    # Effects that the first space does not know have no weight in the second either, which knows them well.
    unsure = MeanEffects(follow.conditions, follow.delta, variance=np.full(40, 1e9, np.float32))
    assert over_perturbations(follow, table, ["ridge"]).unexplained < 0.1
    assert over_perturbations(unsure, table, ["ridge"], follow).unexplained > 0.9


def test_two_perturbations_are_too_few_to_choose_from():
    effects = effects_of(np.array([[1.0], [2]]), NAMES[:2])
    judged = over_perturbations(effects, TABLE)
    assert (judged.regression, judged.unexplained) == (Regression("mean"), None)
    assert "too few to choose by" in judged.in_words("perturbations")


def test_effects_of_nothing_choose_nothing_odd():
    effects = effects_of(np.zeros((N, 3)))
    judged = over_perturbations(effects, TABLE)
    assert judged.unexplained == 1
    assert not informed(effects, judged.regression).shift(Condition(("G00",))).any()


def informed(effects: MeanEffects, regression: Regression, table: VectorTable = TABLE) -> MeanEffects:
    return effects.informed(Likeness(effects.variances, Predictor(regression, table)))


def test_an_unmeasured_perturbation_gets_its_regression_in_its_own_context_and_dose():
    """a and b lie at 0 and 1, new at 1: their effects in context y at dose 2 count, the others not."""
    table = VectorTable(("a", "b", "new"), np.array([[0.0], [1], [1]], np.float32), "line")
    places = [((("line", "x"),), 1.0), ((("line", "y"),), 1.0), ((("line", "y"),), 2.0)]
    conditions = tuple(Condition((n,), context, dose) for context, dose in places for n in ("a", "b"))
    effects = MeanEffects(conditions, np.array([[1], [2], [3], [4], [5], [6]], np.float32))
    knowing = informed(effects, Regression("nearest"), table)
    for (context, dose), expected in zip(places, (2, 4, 6), strict=True):
        assert knowing.shift(Condition(("new",), context, dose)).tolist() == [expected]
    both = Condition(("a", "new"), *places[2])
    assert knowing.shift(both).tolist() == [5 + 6]  # one measured, one by regression
    assert effects.shift(Condition(("new",), *places[2])).tolist() == [4.5]  # without one: the mean of the context
    assert knowing.shift(Condition((), places[0][0])).tolist() == [0]


def test_plain_effects_tell_of_others_where_the_regression_says_so():
    """A measured perturbation keeps its shrunk effect; another one gets the neighbour's plain or shrunk one."""
    table = VectorTable(("a", "b", "new"), np.array([[0.0], [1], [1]], np.float32), "line")
    a, b, new = (Condition((n,)) for n in ("a", "b", "new"))
    effects = MeanEffects((a, b), np.array([[1], [2]], np.float32), np.array([[10], [20]], np.float32))
    for shrunk, expected in ((True, 2), (False, 20)):
        knowing = informed(effects, Regression("nearest", shrunk=shrunk), table)
        assert knowing.shift(new).tolist() == [expected]
        assert knowing.shift(b).tolist() == [2]


def test_noisy_effects_weigh_less():
    """Two equal vectors, effects 1 and 3 of variances 1 and 3: weighed by precision, (1 + 3 / 3) / (1 + 1 / 3).

    The prior adds 1 to the precision: 2 / (1 + 4 / 3).
    """
    table = VectorTable(("a", "b", "c", "new"), np.array([[1.0, 0], [1, 0], [-1, 0], [1, 0]], np.float32), "points")
    conditions = tuple(Condition((n,)) for n in ("a", "b", "c"))
    effects = MeanEffects(conditions, np.array([[1], [3], [0]], np.float32), variance=np.array([1, 3, 1e6], np.float32))
    regression = Regression("kernel_ridge", noise=1e-9, reach=1.0)
    assert informed(effects, regression, table).shift(Condition(("new",)))[0] == pytest.approx(
        2 / (1 + 4 / 3), rel=1e-3
    )


def test_the_mean_of_two_effects_has_a_quarter_of_their_variances():
    """a and b were measured in contexts x and y, and are asked for in z: each is the mean of two effects there."""
    x, y, z = ((("line", c),) for c in "xyz")
    table = VectorTable(("a", "b", "new"), np.array([[0.0], [2], [0.5]], np.float32), "line")
    conditions = tuple(Condition((n,), c) for n in "ab" for c in (x, y))
    variance = np.array([1, 3, 2, 6], np.float32)
    effects = MeanEffects(conditions, np.array([[1], [3], [4], [6]], np.float32), variance=variance)
    regression = Regression("kernel_ridge", noise=0.1)
    expected = Weights(regression, table, ("a", "b"), [1.0, 2.0]).of(["new"])[0] @ [2.0, 5.0]
    assert informed(effects, regression, table).shift(Condition(("new",), z))[0] == pytest.approx(expected)


def test_a_context_without_this_perturbation_borrows_from_contexts_like_it():
    """Context z lies at y: nearest takes y's effect; without vectors x and y count alike."""
    x, y, z = ((("line", c),) for c in "xyz")
    keys = tuple(Condition((), c).key for c in (x, y, z))
    table = VectorTable(keys, np.array([[0.0], [1], [1.1]], np.float32), "contexts")
    effects = MeanEffects((Condition(("a",), x), Condition(("a",), y)), np.array([[1], [3]], np.float32))
    knowing = effects.informed(Likeness(contexts=Predictor(Regression("nearest"), table)))
    assert knowing.shift(Condition(("a",), z)).tolist() == [3]
    assert effects.shift(Condition(("a",), z)).tolist() == [2]
    assert knowing.shift(Condition(("a",), x)).tolist() == [1]
    unknown = Condition(("a",), (("line", "unknown"),))
    assert knowing.shift(unknown).tolist() == [2], "a context without a vector borrows from all alike"


def test_a_regression_that_was_chosen_by_other_effects_trusts_them_as_far_as_those_are_sure():
    """Contexts all alike, noise 1: variances of 0 give either a weight of 1 / 3; 2 and 0 give 1 / 7 and 3 / 7."""
    x, y, z = ((("line", c),) for c in "xyz")
    keys = tuple(Condition((), c).key for c in (x, y, z))
    table = VectorTable(keys, np.ones((3, 1), np.float32), "contexts")
    conditions = (Condition(("a",), x), Condition(("a",), y))
    effects = MeanEffects(conditions, np.array([[21], [42]], np.float32))
    alike = Predictor(Regression("kernel_ridge", noise=1.0), table)
    for predictor, expected in ((alike, 7 + 14), (replace(alike, variance={conditions[0]: 2.0}), 3 + 18)):
        assert effects.informed(Likeness(contexts=predictor)).shift(Condition(("a",), z))[0] == pytest.approx(expected)


def test_no_effect_is_not_taken_for_nothing_known():
    """Ridge around no effect, for a name at the centre of the table that is looked at: 0, and not the mean of all."""
    rows = np.array([[1, 0], [-1, 0], [0, 1.0]], np.float32)
    table = VectorTable(("a", "b", "new"), rows, "two", widths=(1, 1))
    effects = effects_of(np.array([[1.0], [4]]), ("a", "b"))
    knowing = informed(effects, Regression("ridge", source=0), table)
    assert knowing.shift(Condition(("new",))).tolist() == [0]
    assert knowing.shift(Condition(("a", "new"))).tolist() == [1]


def test_without_single_perturbations_or_a_vector_the_mean_of_all_is_expected():
    pairs = MeanEffects(
        tuple(Condition(p) for p in (("a", "b"), ("a", "c"), ("b", "c"))), np.array([[1], [2], [6]], np.float32)
    )
    table = VectorTable(("a", "b", "c", "d"), np.eye(4, dtype=np.float32), "eye")
    judged = over_perturbations(pairs, table)
    assert informed(pairs, judged.regression, table).shift(Condition(("a", "d"))).tolist() == [3]
    singles = effects_of(np.array([[1.0], [4]]), ("a", "b"))
    assert informed(singles, Regression("nearest"), table).shift(Condition(("unheard",))).tolist() == [2.5]


def test_effects_between_doses_are_plain_whatever_the_regression_takes():
    """new lies at a, which was measured at doses 1 and 3: at dose 1 shrunk, at 2 between plain ones."""
    response = DoseResponse(1.0, 1.0, ALL_DOSES)
    table = VectorTable(("a", "b", "new"), np.array([[0.0], [5], [0]], np.float32), "line")
    conditions = tuple(Condition((n,), (), dose) for n in ("a", "b") for dose in (1.0, 3.0))
    plain = np.array([[2], [3], [0], [0]], np.float32)
    effects = MeanEffects(conditions, plain / 2, plain, np.full(4, 0.1, np.float32))
    nearest = Predictor(Regression("nearest", shrunk=True), table)
    knowing = effects.informed(Likeness(effects.variances, nearest, doses=response))
    assert knowing.shift(Condition(("new",), (), 1.0)).tolist() == [1]
    expected = response.weights(np.array([1.0, 3.0]), np.full(2, 0.1), 2.0) @ plain[:2, 0]
    assert knowing.shift(Condition(("new",), (), 2.0))[0] == pytest.approx(expected)


def test_kinds_are_all_among_the_candidates():
    assert {regression.kind for regression in candidates()} == set(KINDS)
    assert {regression.kind for regression in candidates(["nearest"])} == {"nearest"}
