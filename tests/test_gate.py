"""The share of the way between two predictions, by hand and where the truth is known."""

import numpy as np
import pytest
from scipy import integrate, stats

from gensim.perturbations.gate import EXPECTED, FEWEST, SPREAD, Gate, learn_gate


def learned(first, second, measured, unit=None, variance=0.0) -> Gate:
    """With a unit for each condition, and control cells of one context."""
    k, genes = first.shape
    unit = np.arange(k) if unit is None else unit
    return learn_gate(first, second, measured, unit, np.zeros(k, np.int64), np.full((1, genes), variance))


def predictions(rng, k=40, genes=30):
    return rng.normal(size=(k, genes)), rng.normal(size=(k, genes))


def test_the_share_and_its_error_by_hand():
    """One gene, from 0 to 1 or 2; measured 1, 0, 1, 1: (1 + 0 + 2 + 2) / (1 + 1 + 4 + 4) = 0.5.

    Without one condition after another: 4/9, 5/9, 3/6, 3/6, with the mean 1/2; the variance is 3/4 * 2 / 18² = 1/216.
    """
    second = np.array([[1.0], [1.0], [2.0], [2.0]])
    found = learned(np.zeros((4, 1)), second, np.array([[1.0], [0.0], [1.0], [1.0]]))
    assert (found.n_units, found.best) == (4, 0.5)
    assert found.error == pytest.approx((1 / 216) ** 0.5)
    # The posterior mean by Simpson's rule, of a normal prior of 1/3 ± 1/3 and Student's t with 3 degrees of freedom.
    at = np.linspace(-2, 3, 20_001)
    posterior = stats.norm(1 / 3, 1 / 3).pdf(at) * stats.t(3, at, (1 / 216) ** 0.5).pdf(0.5)
    expected = integrate.simpson(at * posterior, x=at) / integrate.simpson(posterior, x=at)
    assert found.share == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("truth", [0.0, 0.3, 1.0])
def test_it_finds_what_the_truth_was_made_with(truth):
    rng = np.random.default_rng(0)
    m, r = predictions(rng)
    found = learned(m, r, m + truth * (r - m) + rng.normal(size=m.shape))
    assert found.share == pytest.approx(truth, abs=0.05)
    assert abs(found.best - truth) < 3 * found.error


def test_its_error_is_how_far_it_is_off():
    """The spread of the share over 300 draws of the noise, and the mean of what it says its error is."""
    rng = np.random.default_rng(1)
    m, r = predictions(rng, k=12, genes=5)
    drawn = [learned(m, r, m + 0.5 * (r - m) + 2 * rng.normal(size=m.shape)) for _ in range(300)]
    spread, said = np.std([gate.best for gate in drawn]), np.sqrt(np.mean([gate.error**2 for gate in drawn]))
    assert 0.8 < said / spread < 1.4
    assert np.mean([gate.best for gate in drawn]) == pytest.approx(0.5, abs=4 * spread / 300**0.5)


def test_conditions_of_one_unit_are_no_independent_witnesses():
    """A context of 100 conditions cannot tell; of ten, whose shares differ, the error is how far it is off."""
    rng = np.random.default_rng(4)
    m, r = predictions(rng, k=100, genes=5)
    assert learned(m, r, r, unit=np.zeros(100, np.int64)) == Gate()
    unit, drawn = np.arange(100) % 10, []
    for _ in range(200):
        truth = 0.5 + 0.3 * rng.normal(size=10)[unit][:, None]
        drawn.append(learned(m, r, m + truth * (r - m), unit))
    spread, said = np.std([gate.best for gate in drawn]), np.sqrt(np.mean([gate.error**2 for gate in drawn]))
    assert drawn[0].n_units == 10
    assert 0.8 < said / spread < 1.4


def test_the_error_of_the_control_cells_is_common_to_all():
    """Two contexts of ten conditions, whose predictions differ by the same everywhere."""
    rng = np.random.default_rng(5)
    variance, control = np.array([[0.1, 0.4], [0.9, 0.2]]), np.repeat([0, 1], 10)
    m, r = np.zeros((20, 2)), np.ones((20, 2)) + 0.1 * rng.normal(size=(20, 2))
    drawn = []
    for _ in range(300):
        error = np.sqrt(variance) * rng.normal(size=(2, 2))
        drawn.append(learn_gate(m, r, 0.5 * r - error[control], np.arange(20), control, variance))
    spread, said = np.std([gate.best for gate in drawn]), np.sqrt(np.mean([gate.error**2 for gate in drawn]))
    assert 0.85 < said / spread < 1.15
    # (10² (0.1 + 0.4) + 10² (0.9 + 0.2)) / (20 * 2)²
    assert said == pytest.approx(0.1**0.5, rel=0.2)


def test_what_tells_little_changes_little_and_shares_stay_shares():
    rng = np.random.default_rng(2)
    m, r = predictions(rng, k=5, genes=3)
    noisy = learned(m, r, m + 300 * rng.normal(size=m.shape))
    assert noisy.error > 20 * SPREAD
    assert noisy.share == pytest.approx(EXPECTED, abs=0.05)
    for truth, expected in ((-0.7, 0.0), (1.6, 1.0)):
        found = learned(m, r, m + truth * (r - m))
        assert found.best == pytest.approx(truth)
        assert found.share == pytest.approx(expected, abs=1e-3)


def test_two_that_agree_by_chance_tell_less_than_ten():
    """Both say 1 with the same standard error: Student's t of one degree of freedom hardly leaves the prior."""
    m, r = np.zeros((10, 1)), np.ones((10, 1))
    few = learned(m[:2], r[:2], np.array([[0.8], [1.2]]))
    many = learned(m, r, 1 + 0.2 * np.sqrt(9) * np.array([[1.0], [-1.0]] * 5))
    assert (few.best, many.best) == (pytest.approx(1), pytest.approx(1))
    assert few.error == pytest.approx(many.error)
    assert EXPECTED < few.share < many.share < 1


@pytest.mark.parametrize("k", [2, 3, 10])
def test_what_says_further_is_not_believed_less(k):
    m, r = np.zeros((k, 1)), np.ones((k, 1))
    noise = 0.1 * np.where(np.arange(k) % 2 == 0, 1, -1)[:, None]
    shares = [learned(m, r, truth + noise).share for truth in np.linspace(-3, 3, 25)]
    assert (np.diff(shares) >= -1e-9).all()
    assert 0 <= shares[0] < 0.2 < 0.6 < shares[-1] <= 1


def test_controls_of_a_unit_of_its_own_are_in_its_spread_already():
    """Ten contexts, each a unit of three conditions with control cells of its own."""
    rng = np.random.default_rng(6)
    unit, variance = np.repeat(np.arange(10), 3), np.full((10, 2), 0.5)
    m, r = np.zeros((30, 2)), np.ones((30, 2))
    drawn = []
    for _ in range(300):
        error = np.sqrt(variance) * rng.normal(size=(10, 2))
        drawn.append(learn_gate(m, r, 0.5 * r - error[unit], unit, unit, variance))
    spread, said = np.std([gate.best for gate in drawn]), np.sqrt(np.mean([gate.error**2 for gate in drawn]))
    assert 0.85 < said / spread < 1.15


def test_effects_that_are_not_finite_tell_nothing():
    m, r = predictions(np.random.default_rng(7))
    assert learned(m, r, np.full_like(m, np.nan)) == Gate()


def test_where_nothing_tells_it_is_the_prior():
    rng = np.random.default_rng(3)
    m, r = predictions(rng, k=5)
    few = slice(FEWEST - 1)
    assert learned(m[few], r[few], m[few]) == Gate() == Gate(1 / 3)
    assert learned(m, m, r) == Gate()
    # One condition alone tells them apart: nothing says how far it can be trusted.
    apart = m.copy()
    apart[0] = r[0]
    assert learned(m, apart, r) == Gate()
    assert learned(m[:0], r[:0], m[:0]) == Gate()


def test_it_says_what_it_is():
    words = "gate", "the regression on genes", "held-back units"
    assert (
        Gate().in_words(*words) == "gate: 0.33 of the way to the regression on genes, as too few held-back units tell"
    )
    assert Gate(0.4, 7, 0.5, 0.1).in_words(*words) == (
        "gate: 0.40 of the way to the regression on genes; 7 held-back units say 0.50 ± 0.10"
    )
