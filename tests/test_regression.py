"""Regressions over perturbations: against formulas written out, scikit-learn, and planted truths."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from gensim.perturbations.choose_regression import choose_regression
from gensim.perturbations.mean_effects import MeanEffects
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


def test_nearest_by_hand():
    table = VectorTable(("a", "b", "c", "new"), np.array([[0.0], [1], [10], [2]], np.float32), "line")
    weights = Weights(Regression("nearest", neighbours=2), table, ("a", "b", "c"))
    assert weights.of(["new"]).tolist() == [[0.5, 0.5, 0]]
    everything = Weights(Regression("nearest", neighbours=20), table, ("a", "b", "c"))
    assert everything.of(["new"]).tolist() == [[1 / 3, 1 / 3, 1 / 3]]


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_kernel_ridge_is_the_mean_of_a_gaussian_process(noise):
    """exp(-d² / (4 reach²)) is scikit-learn's RBF with length scale reach √2."""
    measured, y = NAMES[:8], RNG.normal(size=(8, 3))
    regression = Regression("kernel_ridge", noise=noise, reach=0.7)
    vectors = MeasuredVectors(TABLE, measured, unit=False)
    process = GaussianProcessRegressor(RBF(0.7 * np.sqrt(2)), alpha=noise, optimizer=None).fit(vectors.x, y)
    found = Weights(regression, TABLE, measured).of(NAMES[8:]) @ y
    np.testing.assert_allclose(found, process.predict(vectors.of(NAMES[8:])), atol=1e-8)


def test_ridge_is_ridge():
    """w = (X'X + noise)^-1 X'y in the features."""
    measured, y = NAMES[:8], RNG.normal(size=(8, 3))
    vectors = MeasuredVectors(TABLE, measured, unit=True)
    x, new = vectors.x, vectors.of(NAMES[8:])
    expected = new @ np.linalg.solve(x.T @ x + 0.3 * np.eye(F), x.T @ y)
    found = Weights(Regression("ridge", unit=True, noise=0.3), TABLE, measured).of(NAMES[8:]) @ y
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_with_an_intercept_equal_effects_are_predicted_for_all():
    y = np.full((8, 1), 5.0)
    for kind in ("ridge", "kernel_ridge"):
        weights = Weights(Regression(kind, noise=1.0, intercept=True), TABLE, NAMES[:8])
        np.testing.assert_allclose(weights.of(NAMES[8:]) @ y, 5, rtol=5e-3)
        without = Weights(Regression(kind, noise=1.0), TABLE, NAMES[:8])
        assert (np.abs(without.of(NAMES[8:]) @ y) < 4.9).all()


@pytest.mark.parametrize("regression", list(candidates()), ids=str)
def test_left_out_weights_are_those_of_a_fit_without_the_row(regression):
    """With vectors placed as all of them were: what is left out is the effect."""
    x = MeasuredVectors(TABLE, NAMES, regression.unit).x
    weights = left_out_weights(regression, x)
    assert not np.diag(weights).any()
    for i in (0, N - 1):
        others = np.delete(np.arange(N), i)
        if regression.kind == "mean":
            expected = np.full(N - 1, 1 / (N - 1))
        elif regression.kind == "nearest":
            order = np.argsort(np.linalg.norm(x[others] - x[i], axis=1))
            expected = np.zeros(N - 1)
            expected[order[: regression.neighbours]] = 1 / min(regression.neighbours, N - 1)
        else:
            kernel = _kernel(regression, x)
            noisy = kernel[np.ix_(others, others)] + regression.noise * np.eye(N - 1)
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
    informed = choose_regression(effects, effects, VectorTable(names, x, "informative"))
    assert informed.unexplained < 0.05
    guess = VectorTable(names, rng.normal(size=(40, 5)).astype(np.float32), "random")
    blind = choose_regression(effects, effects, guess)
    assert blind.unexplained > 0.9
    for kind, most in [("mean", 1.2), ("nearest", 1.2), ("ridge", 1.0), ("kernel_ridge", 1.0)]:
        assert 0.9 < choose_regression(effects, effects, guess, [kind]).unexplained < most


def test_a_perturbation_is_left_out_in_all_its_contexts():
    """Equal effects in two contexts, vectors without information: who saw the other context would explain all."""
    rng = np.random.default_rng(2)
    delta = rng.normal(size=(N, 30))
    conditions, rows = [], []
    for context in ("x", "y"):
        conditions += [Condition((n,), (("line", context),)) for n in NAMES]
        rows.append(delta)
    effects = MeanEffects(tuple(conditions), np.concatenate(rows).astype(np.float32))
    assert choose_regression(effects, effects, TABLE).unexplained > 0.9


def test_the_share_left_unexplained_by_hand():
    """Effects 1, 2 and 6: the mean of the two others is 4, 3.5 and 1.5, so (9 + 2.25 + 20.25) / 41."""
    effects = effects_of(np.array([[1.0], [2], [6]]), NAMES[:3])
    assert choose_regression(effects, effects, TABLE, ["mean"]).unexplained == pytest.approx(31.5 / 41)
    # Measured with noise, but used shrunk to one half: 2, 1.75 and 0.75 against 1, 2 and 6.
    used = effects_of(np.array([[0.5], [1], [3]]), NAMES[:3])
    assert choose_regression(effects, used, TABLE, ["mean"]).unexplained == pytest.approx((1 + 0.0625 + 27.5625) / 41)


def test_two_perturbations_are_too_few_to_choose_from():
    effects = effects_of(np.array([[1.0], [2]]), NAMES[:2])
    assert choose_regression(effects, effects, TABLE).regression == Regression("mean")


def test_effects_of_nothing_choose_nothing_odd():
    effects = effects_of(np.zeros((N, 3)))
    judged = choose_regression(effects, effects, TABLE)
    assert judged.unexplained == 1
    assert not effects.informed(Weights(judged.regression, TABLE, NAMES)).shift(Condition(("G00",))).any()


def test_an_unmeasured_perturbation_gets_its_regression_in_its_own_context_and_dose():
    """a and b lie at 0 and 1, new at 1: their effects in context y at dose 2 count, the others not."""
    table = VectorTable(("a", "b", "new"), np.array([[0.0], [1], [1]], np.float32), "line")
    places = [((("line", "x"),), 1.0), ((("line", "y"),), 1.0), ((("line", "y"),), 2.0)]
    conditions = tuple(Condition((n,), context, dose) for context, dose in places for n in ("a", "b"))
    effects = MeanEffects(conditions, np.array([[1], [2], [3], [4], [5], [6]], np.float32))
    informed = effects.informed(Weights(Regression("nearest"), table, ("a", "b")))
    for (context, dose), expected in zip(places, (2, 4, 6), strict=True):
        assert informed.shift(Condition(("new",), context, dose)).tolist() == [expected]
    both = Condition(("a", "new"), *places[2])
    assert informed.shift(both).tolist() == [5 + 6]  # one measured, one by regression
    assert effects.shift(Condition(("new",), *places[2])).tolist() == [4.5]  # without one: the mean of the context
    assert informed.shift(Condition((), places[0][0])).tolist() == [0]


def test_kinds_are_all_among_the_candidates():
    assert {regression.kind for regression in candidates()} == set(KINDS)
    assert {regression.kind for regression in candidates(["nearest"])} == {"nearest"}
