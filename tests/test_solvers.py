"""Solvers against closed forms: order of convergence, refusal of noise, independence of cells."""

import math

import numpy as np
import pytest
import torch
from stand_ins import unused

from gensim.solvers.ode import Euler, Heun, Midpoint, TorchDiffEq
from gensim.types import Dynamics

Z_0 = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def exponential() -> Dynamics:
    """dz/dt = (1 + t) z, so z(1) = z(0) exp(3/2)."""
    return Dynamics(lambda t, z: (1 + t) * z)


@pytest.mark.parametrize(("solver", "order"), [(Euler, 1), (Midpoint, 2), (Heun, 2)])
def test_error_falls_with_the_stated_order(solver, order):
    steps = np.array([8, 16, 32, 64])
    exact = Z_0 * math.exp(1.5)
    errors = [float((solver(int(n)).solve(exponential(), Z_0, unused) - exact).abs().max()) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert solver.order == order
    # The slope of a finite range of steps approaches the order from below; 0.1 is well under the gap to the next order.
    assert slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("solver", [Euler, Midpoint, Heun])
def test_a_straight_path_is_exact_in_one_step(solver):
    velocity = torch.tensor([[3.0, -1.0], [0.25, 8.0]], dtype=torch.float64)
    ended = solver(1).solve(Dynamics(lambda t, z: velocity), Z_0, unused)
    torch.testing.assert_close(ended, Z_0 + velocity, rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_torchdiffeq_meets_the_closed_form(method):
    ended = TorchDiffEq(method, tolerance=1e-8, n_steps=20).solve(exponential(), Z_0, unused)
    torch.testing.assert_close(ended, Z_0 * math.exp(1.5), rtol=1e-6, atol=0)


@pytest.mark.parametrize("solver", [Euler(3), Midpoint(3), Heun(3), TorchDiffEq("dopri5", 1e-4, 1)])
def test_noise_is_refused(solver):
    with pytest.raises(ValueError, match="diffusion"):
        solver.solve(Dynamics(lambda t, z: z, diffusion=lambda t, z: torch.ones_like(z)), Z_0, unused)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Euler(0)
