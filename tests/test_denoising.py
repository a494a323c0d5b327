"""Denoising solvers where E[z_1 | z_t] and the flow are known: cells from N(M, S²), on three paths."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from stand_ins import unused

from gensim.solvers.denoising import DDIM, Ancestral, DPMSolver2M
from gensim.types import Denoiser, Dynamics

M, S = 1.5, 0.6
EDGE = 0.01
STEPS = np.array([32, 64, 128, 256])
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)
Z_0 = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]


def one(t, z):
    return torch.ones_like(z)


def gaussian_cells(t, z, alpha, sigma):
    """E[z_1 | z_t], for z_1 from N(M, S²)."""
    return M + alpha * S**2 / (alpha**2 * S**2 + sigma**2) * (z - alpha * M)


def along(alpha, sigma, clean=gaussian_cells, diffusion=None) -> Dynamics:
    """Dynamics of which nothing but the denoiser may be asked."""
    path = Denoiser(alpha, sigma, lambda t, z: clean(t, z, alpha(t), sigma(t)))
    return Dynamics(lambda t, z: torch.full_like(z, torch.nan), diffusion, path)


def cosine(clean=gaussian_cells, diffusion=None) -> Dynamics:
    def angle(t):
        return math.pi / 2 * (EDGE + (1 - 2 * EDGE) * t)

    return along(lambda t: angle(t).sin(), lambda t: angle(t).cos(), clean, diffusion)


def straight() -> Dynamics:
    return along(lambda t: t, lambda t: 1 - t)


def even() -> Dynamics:
    """lambda = log(alpha / sigma) rises evenly, from -3 to 6."""
    return along(lambda t: torch.sigmoid(18 * t - 6).sqrt(), lambda t: torch.sigmoid(6 - 18 * t).sqrt())


def moments_of(path: Denoiser, t: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation of z_t."""
    alpha, sigma = float(path.alpha(t)), float(path.sigma(t))
    return alpha * M, math.hypot(alpha * S, sigma)


def end_of_the_flow(path: Denoiser, z: torch.Tensor) -> torch.Tensor:
    """The flow keeps (z_t - mean) / spread; what the solvers return is the clean cell expected at its end."""
    (mean_0, spread_0), (mean_1, spread_1) = (moments_of(path, t) for t in ENDS)
    return path.clean(ENDS[1], mean_1 + spread_1 / spread_0 * (z - mean_0))


def slope(errors: list[float]) -> float:
    return -float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


def errors_of(solver, dynamics: Dynamics) -> list[float]:
    expected = end_of_the_flow(dynamics.denoiser, Z_0)
    return [float((solver(int(n)).solve(dynamics, Z_0, unused) - expected).abs().max()) for n in STEPS]


@pytest.mark.parametrize(("solver", "order"), [(DDIM, 1), (DPMSolver2M, 2)])
def test_error_falls_with_the_stated_order(solver, order):
    assert solver.order == order
    # The slope of a finite range of steps approaches the order from below; the next order is 1 away.
    assert slope(errors_of(solver, even())) == pytest.approx(order, abs=0.05)


def test_steps_even_in_the_angle_converge_as_well():
    """lambda grows without bound towards the ends of this path: order 1 stays, order 2 is met up to a logarithm."""
    first, second = errors_of(DDIM, cosine()), errors_of(DPMSolver2M, cosine())
    assert slope(first) == pytest.approx(1, abs=0.05)
    assert all(b < a / 20 for a, b in zip(first, second, strict=True))


def test_ddim_on_the_straight_path_is_euler_on_the_velocity_of_flow_matching():
    """u = (E[z_1 | z_t] - z_t) / (1 - t) is the velocity between N(0, 1) and N(M, S²), here in its own closed form."""
    n = 7
    z = Z_0.numpy()
    for t in np.arange(n) / n:
        variance = (1 - t) ** 2 + t**2 * S**2
        z = z + (M + (t * S**2 - (1 - t)) / variance * (z - t * M)) / n
    np.testing.assert_allclose(DDIM(n).solve(straight(), Z_0, unused).numpy(), z, rtol=0, atol=1e-13)


def test_a_path_may_start_at_pure_noise():
    """Where alpha is 0, lambda is minus infinity: the flow from N(0, 1) to N(M, S²) ends at M + S z."""
    ended = DPMSolver2M(200).solve(straight(), Z_0, unused)
    torch.testing.assert_close(ended, M + S * Z_0, rtol=0, atol=1e-3)


def test_the_first_and_the_last_step_of_dpm_are_those_of_ddim():
    two, three = (DPMSolver2M(n).solve(cosine(), Z_0, unused) - DDIM(n).solve(cosine(), Z_0, unused) for n in (2, 3))
    torch.testing.assert_close(two, torch.zeros_like(Z_0), rtol=0, atol=1e-14)
    assert float(three.abs().max()) > 1e-2


def test_ancestral_steps_are_the_posterior_of_ho_et_al():
    """Their eq. 6-7 in their letters: bar_alpha = alpha², 1 - beta = bar_alpha_t / bar_alpha_s."""
    n = 5
    noise = np.random.default_rng(0).standard_normal((n, *Z_0.shape))
    bar_alpha = np.sin(np.pi / 2 * (EDGE + (1 - 2 * EDGE) * np.arange(n) / n)) ** 2
    z = Z_0.numpy()
    for k, (bar_t, bar_s) in enumerate(pairwise(bar_alpha)):
        beta = 1 - bar_t / bar_s
        mean = np.sqrt(bar_s) * beta / (1 - bar_t) * np.tanh(z) + np.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t) * z
        z = mean + np.sqrt((1 - bar_s) / (1 - bar_t) * beta) * noise[k]
    dynamics = cosine(clean=lambda t, z, alpha, sigma: z.tanh(), diffusion=one)
    ended = Ancestral(n).solve(dynamics, Z_0, lambda k: torch.from_numpy(noise[k]))
    np.testing.assert_allclose(ended.numpy(), np.tanh(z), rtol=0, atol=1e-12)


def test_mean_and_spread_of_ancestral_cells_converge_with_the_stated_order():
    """A linear denoiser makes the end a + b z_0 + sum c_k noise_k, whose moments follow from a, b and c."""
    dynamics = cosine(diffusion=one)
    mean_0, spread_0 = moments_of(dynamics.denoiser, ENDS[0])

    def mean_and_spread(n: int) -> tuple[float, float]:
        """Of the end, from cells that start with the mean and spread of the path."""
        rows = torch.eye(n + 1, dtype=torch.float64)[:, :, None]
        ended = Ancestral(n).solve(dynamics, rows[0], lambda k: rows[k + 1])[:, 0].numpy()
        nothing = float(Ancestral(n).solve(dynamics, torch.zeros_like(Z_0), lambda k: torch.zeros_like(Z_0))[0])
        b, *c = ended - nothing
        return nothing + b * mean_0, math.hypot(b * spread_0, *c)

    mean_1, spread_1 = moments_of(dynamics.denoiser, ENDS[1])
    expected = float(dynamics.denoiser.clean(ENDS[1], ENDS[1:] * (mean_1 + spread_1)) - M)
    means, spreads = zip(*(mean_and_spread(int(n)) for n in STEPS), strict=True)
    assert Ancestral.order == 1
    # The slope of these steps is 0.91, and 0.98 at four times as many; the next order is 1 away.
    assert slope([abs(spread - expected) for spread in spreads]) == pytest.approx(1, abs=0.1)
    # Cells that start with the mean of the path keep it at every step.
    np.testing.assert_allclose(means, M, rtol=0, atol=1e-12)


def test_a_population_of_ancestral_cells_has_the_right_mean_and_spread():
    generator = torch.Generator().manual_seed(1)

    def draw(k):
        return torch.randn(20_000, 1, generator=generator, dtype=torch.float64)

    dynamics = cosine(diffusion=one)
    mean_0, spread_0 = moments_of(dynamics.denoiser, ENDS[0])
    ended = Ancestral(400).solve(dynamics, mean_0 + spread_0 * draw(None), draw)
    # 20,000 cells know mean and spread to 0.004 and 0.003; 400 steps cost the spread 0.006.
    assert float(ended.mean()) == pytest.approx(M, abs=0.015)
    assert float(ended.std()) == pytest.approx(S, abs=0.015)


def test_ancestral_noise_belongs_to_step_and_cell():
    """Cells solved apart, with their own rows of the noise, are those solved together; every step draws once."""
    noise = torch.randn(3, len(Z_0), 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    dynamics, asked = cosine(diffusion=one), []
    together = Ancestral(4).solve(dynamics, Z_0, lambda k: asked.append(k) or noise[k])
    apart = [Ancestral(4).solve(dynamics, Z_0[i : i + 1], lambda k, i=i: noise[k, i : i + 1]) for i in range(len(Z_0))]
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=0)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(("solver", "diffusion"), [(DDIM, None), (DPMSolver2M, None), (Ancestral, one)])
def test_the_denoiser_is_evaluated_once_per_step(solver, diffusion):
    times = []

    def clean(t, z, alpha, sigma):
        times.append(float(t))
        return z

    solver(4).solve(cosine(clean, diffusion), Z_0, lambda k: torch.zeros_like(Z_0))
    assert times == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(("solver", "diffusion"), [(DDIM, None), (DPMSolver2M, None), (Ancestral, one)])
def test_paths_that_do_not_start_at_noise_are_refused(solver, diffusion):
    with pytest.raises(ValueError, match=f"{solver.__name__}.*no denoiser"):
        solver(3).solve(Dynamics(lambda t, z: z, diffusion), Z_0, unused)


@pytest.mark.parametrize("solver", [DDIM, DPMSolver2M])
def test_deterministic_solvers_refuse_a_diffusion(solver):
    with pytest.raises(ValueError, match=f"{solver.__name__}.*diffusion"):
        solver(3).solve(cosine(diffusion=one), Z_0, unused)


def test_ancestral_refuses_a_flow():
    with pytest.raises(ValueError, match=r"Ancestral.*no diffusion"):
        Ancestral(3).solve(cosine(), Z_0, unused)


@pytest.mark.parametrize("solver", [DDIM, DPMSolver2M, Ancestral])
def test_no_steps_are_refused(solver):
    with pytest.raises(ValueError, match="at least 1"):
        solver(0)
