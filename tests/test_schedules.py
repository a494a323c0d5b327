"""What a schedule of diffusion guarantees, and its closed forms against integrals and differences."""

import math

import numpy as np
import pytest
import torch

from gensim.transport.schedules import Cosine, Linear

SCHEDULES = [Cosine(), Linear()]
INSIDE = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_path_preserves_variance(schedule):
    t = torch.cat([ENDS, INSIDE])
    torch.testing.assert_close(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones_like(t), rtol=0, atol=1e-14)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_cell_comes_and_the_noise_goes(schedule):
    t = torch.cat([ENDS[:1], INSIDE, ENDS[1:]])
    assert (schedule.alpha(t).diff() > 0).all()
    assert (schedule.sigma(t).diff() < 0).all()
    assert (schedule.log_snr(INSIDE).diff() > 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_slopes_are_those_of_finite_differences(schedule):
    h = 1e-6
    for value, slope in [(schedule.alpha, schedule.alpha_dot), (schedule.sigma, schedule.sigma_dot)]:
        differences = (value(INSIDE + h) - value(INSIDE - h)) / (2 * h)
        # Central differences err by h² times a third derivative (1e-12 · 1e4) and by rounding / h (1e-10).
        torch.testing.assert_close(slope(INSIDE), differences, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_signal_to_noise_ratio_is_that_of_variances(schedule):
    alpha, sigma = schedule.alpha(INSIDE).numpy(), schedule.sigma(INSIDE).numpy()
    np.testing.assert_allclose(schedule.log_snr(INSIDE).numpy(), np.log(alpha**2 / sigma**2), rtol=1e-10, atol=1e-12)


def test_the_cosine_schedule_leads_from_pure_noise_to_the_cell():
    t = torch.tensor([0.0, 1 / 3, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.5, math.sqrt(0.5), 1.0], dtype=torch.float64)
    torch.testing.assert_close(Cosine().alpha(t), expected)


def test_the_linear_schedule_integrates_its_rate():
    """alpha(t) = exp(-1/2 ∫ beta(s) ds) over s from 0 to 1 - t, with beta(0) = 0.1 and beta(1) = 20."""
    t = np.linspace(0, 1, 11)
    expected = []
    for end in 1 - t:
        s = np.linspace(0, end, 1001)
        expected.append(np.exp(-0.5 * np.trapezoid(0.1 + 19.9 * s, s)))  # exact, since the rate is linear
    np.testing.assert_allclose(Linear().alpha(torch.from_numpy(t)).numpy(), expected, rtol=1e-12)
    assert expected[0] == pytest.approx(0.00657, abs=1e-5)


def test_the_last_noise_of_the_linear_schedule_survives_float32():
    """sigma = sqrt(1 - exp(-B)) at B of about 1e-4: exp would leave an error of 2e-4, 1 - t itself costs 3e-5."""
    t = torch.tensor([0.999, 0.9985])
    exact = Linear().sigma(torch.tensor([0.999, 0.9985], dtype=torch.float64))
    torch.testing.assert_close(Linear().sigma(t).double(), exact, rtol=6e-5, atol=0)
