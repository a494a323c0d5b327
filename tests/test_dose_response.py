"""Effects at other doses: 0 at dose 0, and the planted curve where one was planted."""

import math

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from gensim.perturbations.choose_regression import over_doses
from gensim.perturbations.dose_response import (
    ALL_DOSES,
    NUGGET,
    DoseResponse,
    MeasuredDoses,
    choose_dose_response,
    groups_by_dose,
)
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness
from gensim.types import Condition

X = (("line", "x"),)
DOSES = np.array([0.1, 0.5, 1.0, 5.0, 20.0])
FULL = np.array([3.0, -1.0, 2.0])
SURE, INF = np.zeros(5), ALL_DOSES


def planted(half: float, power: float) -> np.ndarray:
    return np.outer(DoseResponse(half, power, INF).share(DOSES), FULL)


def test_shares_by_hand():
    assert DoseResponse(2.0, 1.0, INF).share(np.array(2.0)) == 0.5
    assert DoseResponse(2.0, 2.0, INF).share(np.array(4.0)) == pytest.approx(16 / 20)
    assert DoseResponse(2.0, 1.0, INF).share(np.array(0.0)) == 0


def test_one_measured_dose_by_hand():
    """Half 1: h is 1/2 at 1 and 3/4 at 3; k(3, 1) / (k(1, 1) + v) = 3/8 / (1/4 + v)."""
    response = DoseResponse(1.0, 1.0, INF)
    found = response.weights(np.array([1.0]), np.array([0.5]), 3.0)
    assert found.tolist() == pytest.approx([0.375 / (0.25 + 0.5 + NUGGET)])
    assert response.weights(np.array([1.0, 3.0]), np.zeros(2), 0.0).tolist() == [0, 0]


def test_weights_are_those_of_a_gaussian_process():
    """effect = h f: scikit-learn's process for f = effect / h in log dose, with the noise of f, gives the same."""
    response, v = DoseResponse(2.0, 1.0, 0.8), np.linspace(0.1, 0.5, 5)
    h, y = response.share(DOSES), np.array([1.0, -2, 0.5, 3, 1])
    process = GaussianProcessRegressor(RBF(0.8), alpha=(v + NUGGET) / h**2, optimizer=None)
    process.fit(np.log(DOSES)[:, None], y / h)
    expected = process.predict([[math.log(3.0)]])[0] * response.share(np.array(3.0))
    assert response.weights(DOSES, v, 3.0) @ y == pytest.approx(expected)


@pytest.mark.parametrize(("half", "power"), [(0.3, 1.0), (3.0, 2.0), (3.0, 1.0)])
def test_a_planted_response_is_found_and_predicts_other_doses(half, power):
    """The grid has four halves per decade, so that a half lies within 15 % of one of them."""
    found = choose_dose_response([MeasuredDoses(DOSES, planted(half, power), SURE)])
    assert found.power == power
    assert abs(np.log(found.half / half)) < 0.5
    for dose in (0.7, 2.0, 50.0):
        predicted = found.weights(DOSES, SURE, dose) @ planted(half, power)
        np.testing.assert_allclose(predicted, DoseResponse(half, power, INF).share(np.array(dose)) * FULL, rtol=0.15)


def test_noisy_effects_count_less():
    """Two perturbations: one trusted, one with effects ten times as large that turn at another dose."""
    for v, low, high in ((1e12, 0.2, 0.45), (0.0, 3, 40)):
        groups = [(DOSES, planted(0.3, 1.0), SURE), (DOSES, 10 * planted(20.0, 1.0), np.full(5, v))]
        assert low < choose_dose_response([MeasuredDoses(*group) for group in groups]).half < high


def test_two_doses_tell_nothing_and_half_lies_between_them():
    found = choose_dose_response([MeasuredDoses(np.array([1.0, 100.0]), np.ones((2, 1)), np.zeros(2))])
    assert (found.half, found.power) == (pytest.approx(10.0), 1.0)


def test_groups_are_of_the_same_thing_by_ascending_dose():
    keys = [("a", 3.0), ("b", 1.0), ("a", 1.0), ("a", 0.0), ("a", None)]
    assert groups_by_dose(keys) == [[2, 0], [1]]


def test_mean_effects_between_doses():
    """Plain effects tell of other doses; a measured dose keeps its own, shrunk one; dose 0 does nothing."""
    response = DoseResponse(1.0, 1.0, INF)
    low, high = Condition(("A",), X, 1.0), Condition(("A",), X, 3.0)
    plain = np.array([[2], [3]], np.float32)
    effects = MeanEffects((low, high), plain / 2, plain, np.array([0.1, 0.2], np.float32))
    knowing = effects.informed(Likeness(effects.variances, doses=response))
    expected = response.weights(np.array([1.0, 3.0]), np.array([0.1, 0.2]), 2.0) @ plain[:, 0]
    assert knowing.shift(Condition(("A",), X, 2.0))[0] == pytest.approx(expected)
    assert knowing.shift(low)[0] == 1
    assert knowing.shift(Condition(("A",), X, 0.0))[0] == 0
    assert knowing.shift(Condition(("A",), (("line", "y"),), 2.0))[0] == pytest.approx(expected), "in another context"
    assert effects.shift(Condition(("A",), X, 0.0))[0] == 0, "with a response or without"
    assert effects.shift(Condition(("A",), X, 2.0))[0] == 1.25, "without a response all doses count alike"


def test_no_doses_no_response():
    assert over_doses(MeanEffects((Condition(("A",), X),), np.ones((1, 1), np.float32))) is None


def test_the_error_that_doses_have_of_their_controls_is_no_response():
    """Effects that are one error at all doses, as large as it is known to be: the best is to expect next to nothing.

    Without knowing of it, half of the effect would be far below all doses, which predicts the error everywhere.
    """
    error = np.repeat(FULL[None], len(DOSES), axis=0)
    unknowing = choose_dose_response([MeasuredDoses(DOSES, error, SURE)])
    knowing = choose_dose_response([MeasuredDoses(DOSES, error, SURE, shared=float(FULL @ FULL))])
    told, told_of_it = (float(r.weights(DOSES[[0, 1, 2, 4]], SURE[:4], 5.0).sum()) for r in (unknowing, knowing))
    assert told == pytest.approx(1, abs=0.05)
    assert abs(told_of_it) < 0.6 * told
    conditions = tuple(Condition(("A",), X, dose) for dose in DOSES.tolist())
    noise = np.array([[0.0, FULL @ FULL]] * len(DOSES), np.float32)
    effects = MeanEffects(conditions, error.astype(np.float32), noise=noise)
    assert over_doses(effects) == knowing
