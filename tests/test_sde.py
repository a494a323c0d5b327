"""Euler-Maruyama against processes that are known in closed form, path by path and as a population."""

import math

import numpy as np
import pytest
import torch

from gensim.solvers.ode import Euler
from gensim.solvers.sde import EulerMaruyama
from gensim.types import Dynamics

THETA, SIGMA = 1.5, 0.8
STEPS = np.array([8, 16, 32, 64])


def ornstein_uhlenbeck() -> Dynamics:
    """dz = -theta z dt + sigma dW."""
    return Dynamics(lambda t, z: -THETA * z, lambda t, z: torch.full_like(z, SIGMA))


def coarse(increments: np.ndarray, n_steps: int):
    """The same Brownian paths on fewer steps: sums of neighbouring increments, brought back to unit variance."""
    fine, n = increments.shape
    draws = increments.reshape(n_steps, fine // n_steps, n).sum(1) * math.sqrt(n_steps)
    return lambda k: torch.from_numpy(draws[k])[:, None]


def one_draw_per_cell(n: int):
    """Noise of n cells and n steps: 1 for cell k in step k, else 0."""
    units = torch.eye(n, dtype=torch.float64)
    return lambda k: units[k, :, None]


def slope(errors: list[float]) -> float:
    return -float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


def test_paths_under_additive_noise_converge_with_the_stated_order():
    """Exact ends on given Brownian paths: the increment of W and I = ∫ exp(-theta (h - u)) dW_u over a step of length h
    are Gaussian with Var I = (1 - exp(-2 theta h)) / 2 theta and Cov(I, W) = (1 - exp(-theta h)) / theta."""
    rng = np.random.default_rng(0)
    fine, n = int(STEPS[-1]), 4000
    h = 1 / fine
    covariance = (1 - math.exp(-THETA * h)) / THETA
    dw, other = math.sqrt(h) * rng.standard_normal((fine, n)), rng.standard_normal((fine, n))
    rest = (1 - math.exp(-2 * THETA * h)) / (2 * THETA) - covariance**2 / h
    integrals = covariance / h * dw + math.sqrt(rest) * other
    z_0 = rng.standard_normal(n)
    to_the_end = np.exp(-THETA * h * np.arange(fine)[::-1])
    exact = math.exp(-THETA) * z_0 + SIGMA * to_the_end @ integrals

    errors = []
    for n_steps in STEPS.tolist():
        ended = EulerMaruyama(n_steps).solve(ornstein_uhlenbeck(), torch.from_numpy(z_0)[:, None], coarse(dw, n_steps))
        errors.append(float(np.sqrt(np.mean((ended.numpy()[:, 0] - exact) ** 2))))
    assert EulerMaruyama.order == 1
    # Next terms are of relative size theta h / 2 <= 0.1; noise scaled wrongly gives 0, a missing Itô term 1/2.
    assert slope(errors) == pytest.approx(1, abs=0.1)


def test_paths_under_noise_that_depends_on_the_cell_converge_with_order_one_half():
    """dz = z dW ends at z_0 exp(W - 1/2): the diffusion is taken where a step begins (Itô, not Stratonovich)."""
    rng = np.random.default_rng(1)
    fine, n = int(STEPS[-1]), 20_000
    dw = rng.standard_normal((fine, n)) / math.sqrt(fine)
    z_0 = torch.ones(n, 1, dtype=torch.float64)
    exact = np.exp(dw.sum(0) - 0.5)
    dynamics = Dynamics(lambda t, z: torch.zeros_like(z), lambda t, z: z)
    errors = []
    for n_steps in STEPS.tolist():
        ended = EulerMaruyama(n_steps).solve(dynamics, z_0, coarse(dw, n_steps)).numpy()[:, 0]
        errors.append(float(np.sqrt(np.mean((ended - exact) ** 2))))
    # The error's distribution is heavy-tailed: 20,000 paths give the slope to a few hundredths.
    assert slope(errors) == pytest.approx(0.5, abs=0.1)


def test_mean_and_variance_converge_to_the_exact_ones():
    """A linear equation answers each step's noise by itself, so unit noise in one step per cell gives the variance
    of the end without sampling: the sum of the squared answers. Both errors fall as 1 / n_steps."""
    mean, variance = math.exp(-THETA), SIGMA**2 * (1 - math.exp(-2 * THETA)) / (2 * THETA)
    steps = [10, 20, 40, 80, 160, 320]
    errors = []
    for n in steps:
        solver = EulerMaruyama(n)
        silent = solver.solve(ornstein_uhlenbeck(), torch.ones(1, 1, dtype=torch.float64), lambda k: torch.zeros(1, 1))
        answers = solver.solve(ornstein_uhlenbeck(), torch.zeros(n, 1, dtype=torch.float64), one_draw_per_cell(n))
        errors.append([abs(float(silent) - mean), abs(float(answers.square().sum()) - variance)])
    # Leading terms: theta² exp(-theta) / 2n of the mean and less than sigma² theta / n of the variance.
    assert max(errors[-1]) < 3e-3
    for of_one in np.array(errors).T:
        assert -np.polyfit(np.log(steps), np.log(of_one), 1)[0] == pytest.approx(1, abs=0.1)


def test_a_diffusion_in_time_is_asked_where_steps_begin():
    """sigma(t) = t on 4 steps: the end's answers are √h t_k."""
    dynamics = Dynamics(lambda t, z: torch.zeros_like(z), lambda t, z: t * torch.ones_like(z))
    ended = EulerMaruyama(4).solve(dynamics, torch.zeros(4, 1, dtype=torch.float64), one_draw_per_cell(4))
    np.testing.assert_allclose(ended[:, 0], 0.5 * np.array([0.0, 0.25, 0.5, 0.75]), atol=1e-15)


def test_noise_belongs_to_the_step_and_to_the_cell():
    """Cells solved together, in parts and in another order are the same to the bit, and each step draws once."""
    draws = torch.randn(6, 10, 3, generator=torch.Generator().manual_seed(0))
    z_0 = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    asked = []

    def solve(rows: torch.Tensor) -> torch.Tensor:
        def noise(k: int) -> torch.Tensor:
            asked.append(k)
            return draws[k, rows]

        return EulerMaruyama(6).solve(ornstein_uhlenbeck(), z_0[rows], noise)

    together = solve(torch.arange(10))
    assert asked == [0, 1, 2, 3, 4, 5]
    in_parts = torch.cat([solve(rows) for rows in torch.arange(10).split([1, 6, 3])])
    assert torch.equal(in_parts, together)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    assert torch.equal(solve(order), together[order])


def test_dynamics_without_noise_are_refused():
    with pytest.raises(ValueError, match="no diffusion"):
        EulerMaruyama(3).solve(Dynamics(lambda t, z: z), torch.zeros(1, 1), lambda k: torch.zeros(1, 1))


def test_an_ode_solver_refuses_the_noise():
    with pytest.raises(ValueError, match="use an SDE solver"):
        Euler(3).solve(ornstein_uhlenbeck(), torch.zeros(1, 1), lambda k: torch.zeros(1, 1))


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        EulerMaruyama(0)
