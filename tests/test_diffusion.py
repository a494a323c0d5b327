"""Latent diffusion of cells from N(M, S²), where denoiser, flow and marginals are known in closed form."""

import math

import numpy as np
import pytest
import torch
from stand_ins import NoFeatures, unused

from gensim.nn.residual_mlp import ResidualMLP
from gensim.solvers.denoising import DDIM, Ancestral, DPMSolver2M
from gensim.solvers.ode import Heun
from gensim.transport.anchored import Anchored
from gensim.transport.base import Draws
from gensim.transport.diffusion import LatentDiffusion
from gensim.transport.schedules import Cosine, Linear
from gensim.types import ConditionBatch, ControlBatch, PairBatch

M, S = 1.5, 0.6
T_MIN = 0.02
GAMMA = 5.0
N = 20_000
KINDS = ["v", "clean", "noise"]
Z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]


class ClosedForm(torch.nn.Module):
    """E[z_1 | z_t] on the cosine path, plus an error to add, put as `kind`; counts how often it is asked."""

    def __init__(self, kind: str = "v", error: float = 0.0):
        super().__init__()
        self.kind = kind
        self.error = error
        self.asked = 0

    def context(self, features, controls):
        return features

    def forward(self, z_t, t, context):
        self.asked += 1
        alpha, sigma = (math.pi / 2 * t[:, None]).sin(), (math.pi / 2 * t[:, None]).cos()
        clean = M + alpha * S**2 / (alpha**2 * S**2 + sigma**2) * (z_t - alpha * M) + self.error
        return {"v": (alpha * z_t - clean) / sigma, "clean": clean, "noise": (z_t - alpha * clean) / sigma}[self.kind]


class Zero(ClosedForm):
    def forward(self, z_t, t, context):
        return torch.zeros_like(z_t)


def diffusion(field, **settings) -> LatentDiffusion:
    settings = {"prediction": "v", "min_snr": GAMMA, "strength": 1.0, "t_min": T_MIN, "stochastic": False} | settings
    return LatentDiffusion(field, NoFeatures(), settings.pop("schedule", Cosine()), **settings)


def conditions(n: int, shift: float = 0.0) -> ConditionBatch:
    codes = torch.ones(n, dtype=torch.int64)
    return ConditionBatch(
        codes[:, None], codes[:, None], codes, torch.ones(n, 1), torch.full((n, 1), shift), torch.ones(n)
    )


def dynamics_of(transport, n: int = len(Z), shift: float = 0.0):
    return transport.dynamics(ControlBatch.alone(torch.zeros(n, 1, dtype=torch.float64)), conditions(n, shift))


def gaussian_pairs(generator: torch.Generator) -> tuple[PairBatch, Draws]:
    z_1 = M + S * torch.randn(N, 1, generator=generator)
    rows = torch.arange(N)
    draws = Draws(torch.rand(N, generator=generator), *torch.randn(2, N, 1, generator=generator))
    return PairBatch(ControlBatch.alone(torch.zeros(N, 1)), z_1, conditions(N), rows, rows), draws


def path(tau, strength: float = 1.0):
    """alpha and sigma at a solver's time."""
    t_s = T_MIN + (1 - strength) * (1 - 2 * T_MIN)
    t = t_s + (1 - T_MIN - t_s) * tau
    return np.sin(np.pi / 2 * t), np.cos(np.pi / 2 * t)


def moments(tau, strength: float = 1.0):
    """Mean and standard deviation of z_t at a solver's time."""
    alpha, sigma = path(tau, strength)
    return alpha * M, np.hypot(alpha * S, sigma)


def flow(tau, x, strength: float = 1.0):
    """Where the probability flow is whose cells have the standard score x."""
    mean, spread = moments(tau, strength)
    return mean + spread * x


@pytest.mark.parametrize("kind", KINDS)
def test_every_prediction_stands_for_the_same_clean_cell(kind):
    dynamics = dynamics_of(diffusion(ClosedForm(kind), prediction=kind))
    for tau in (0.0, 0.3, 1.0):
        alpha, sigma = path(tau)
        expected = M + alpha * S**2 / (alpha**2 * S**2 + sigma**2) * (Z.numpy() - alpha * M)
        clean = dynamics.denoiser.clean(torch.tensor(tau, dtype=torch.float64), Z)
        np.testing.assert_allclose(clean.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_drift_is_the_slope_of_the_flow(kind, strength):
    dynamics = dynamics_of(diffusion(ClosedForm(kind), prediction=kind, strength=strength))
    x, h = Z.numpy(), 1e-6
    for tau in (0.01, 0.4, 0.99):
        drift = dynamics.drift(torch.tensor(tau, dtype=torch.float64), torch.from_numpy(flow(tau, x, strength)))
        slope = (flow(tau + h, x, strength) - flow(tau - h, x, strength)) / (2 * h)
        # Central differences round off at 1e-16 / h.
        np.testing.assert_allclose(drift.numpy(), slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_reverse_equation_keeps_the_marginals(strength):
    """Of dz = (a z + b) dt + g dW: d mean/dt = a mean + b, d variance/dt = 2 a variance + g²."""
    dynamics = dynamics_of(diffusion(ClosedForm(), stochastic=True, strength=strength), n=2)
    h = 1e-6
    for tau in (0.01, 0.4, 0.99):
        mean, spread = moments(tau, strength)
        at, ends = torch.tensor(tau, dtype=torch.float64), torch.tensor([[mean], [mean + 1]], dtype=torch.float64)
        drift = dynamics.drift(at, ends).numpy()
        g = dynamics.diffusion(at, ends)
        assert g.shape == ends.shape
        (mean_after, spread_after), (mean_before, spread_before) = (moments(tau + d, strength) for d in (h, -h))
        slope = float(drift[1, 0] - drift[0, 0])
        # Central differences round off at 1e-16 / h, times slopes of up to 50.
        assert drift[0, 0] == pytest.approx((mean_after - mean_before) / (2 * h), abs=1e-8)
        assert 2 * slope * spread**2 + float(g[0, 0]) ** 2 == pytest.approx(
            (spread_after**2 - spread_before**2) / (2 * h), abs=1e-7
        )


def test_euler_maruyama_on_the_reverse_equation_ends_at_the_population():
    rng, n_steps = np.random.default_rng(0), 400
    dynamics = dynamics_of(diffusion(ClosedForm(), stochastic=True), n=N)
    mean, spread = moments(0.0)
    z = mean + spread * rng.standard_normal((N, 1))
    for k in range(n_steps):
        tau = torch.tensor(k / n_steps, dtype=torch.float64)
        drift, g = (f(tau, torch.from_numpy(z)).numpy() for f in (dynamics.drift, dynamics.diffusion))
        z = z + drift / n_steps + g * rng.standard_normal((N, 1)) / math.sqrt(n_steps)
    # 20,000 cells know mean and spread to 0.004 and 0.003; 400 steps cost about 0.01.
    assert z.mean() == pytest.approx(M, abs=0.03)
    assert z.std() == pytest.approx(S, abs=0.03)


def test_heun_on_the_drift_meets_the_end_of_the_flow_with_its_order():
    steps = np.array([20, 40, 80, 160])
    expected = torch.from_numpy(flow(1.0, Z.numpy()))
    z_0 = torch.from_numpy(flow(0.0, Z.numpy()))
    dynamics = dynamics_of(diffusion(ClosedForm()))
    errors = [float((Heun(int(n)).solve(dynamics, z_0, unused) - expected).abs().max()) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    # The slope of a finite range of steps is off by a few hundredths; the next order is 1 away.
    assert slope == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_solvers_by_drift_and_by_denoiser_meet(strength):
    """From the same start, what the denoiser expects at the end of the drift's path is where DDIM and DPM end."""
    dynamics = dynamics_of(diffusion(ClosedForm(), strength=strength))
    ended = Heun(400).solve(dynamics, Z, unused)
    expected = dynamics.denoiser.clean(torch.ones((), dtype=torch.float64), ended)
    # Errors of order 1 after 800 steps, and of order 2 after 200.
    for solver, atol in [(DDIM(800), 5e-3), (DPMSolver2M(200), 1e-3)]:
        torch.testing.assert_close(solver.solve(dynamics, Z, unused), expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("solver", "stochastic"), [(DDIM(7), False), (DPMSolver2M(7), False), (Ancestral(7), True)])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_denoising_an_anchored_diffusion_ends_exactly_the_mean_effect_further(solver, stochastic, strength):
    inner = diffusion(ClosedForm(), stochastic=stochastic, strength=strength)
    controls, condition = ControlBatch.alone(Z - 1), conditions(len(Z), shift=1.25)
    noise = torch.randn(7, len(Z), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, anchored = (
        solver.solve(t.dynamics(controls, condition), t.start(controls, condition, Z), lambda k: noise[k])
        for t in (inner, Anchored(inner))
    )
    torch.testing.assert_close(anchored, plain + 1.25, rtol=0, atol=1e-6)  # shifts are float32


def test_the_drift_of_an_anchored_diffusion_ends_a_hair_before_the_mean_effect():
    """It carries to t = 1 - t_min, where a cell is alpha of itself: 1.25 less 1.25 (1 - alpha) = 0.0006."""
    inner = diffusion(ClosedForm())
    controls, condition = ControlBatch.alone(Z), conditions(len(Z), shift=1.25)
    plain, anchored = (
        Heun(200).solve(t.dynamics(controls, condition), t.start(controls, condition, Z), unused)
        for t in (inner, Anchored(inner))
    )
    alpha, _ = path(1.0)
    assert 1.25 * (1 - alpha) == pytest.approx(0.0006, abs=1e-4)
    # Heun integrates the moving anchor with an error of 1 / 200².
    torch.testing.assert_close(anchored, plain + 1.25 * alpha, rtol=0, atol=5e-5)


def test_an_anchored_population_from_noise_is_the_shifted_population():
    inner = diffusion(ClosedForm())
    eps = torch.randn(N, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    controls, condition = ControlBatch.alone(torch.zeros_like(eps)), conditions(N, shift=1.25)
    transport = Anchored(inner)
    ended = DPMSolver2M(50).solve(
        transport.dynamics(controls, condition), transport.start(controls, condition, eps), unused
    )
    # The start leaves out alpha(t_min) M = 0.05, of which S times as much is missing at the end, and 20,000 cells know
    # mean and spread to 0.004.
    alpha, _ = path(0.0)
    assert float(ended.mean()) == pytest.approx(M + 1.25 - S * alpha * M, abs=0.015)
    assert float(ended.std()) == pytest.approx(S, abs=0.015)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_clean_cell_weighted_with_min_snr(kind):
    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(1))
    z_1, eps, u = (part.double().numpy() for part in (pairs.z_1, draws.eps, draws.t[:, None]))
    alpha, sigma = path(u)
    clean = M + alpha * S**2 / (alpha**2 * S**2 + sigma**2) * (alpha * z_1 + sigma * eps - alpha * M) + 0.2
    expected = np.mean(np.minimum(alpha**2 / sigma**2, GAMMA) * (clean - z_1) ** 2)
    loss = diffusion(ClosedForm(kind, error=0.2), prediction=kind).loss(pairs, draws)
    assert float(loss) == pytest.approx(expected, rel=1e-4)  # float32


@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_minimises_the_loss(kind):
    """An error of the clean cell adds the mean of min(SNR, gamma) times its square, whatever its sign."""
    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(2))
    alpha, sigma = path(draws.t.numpy())
    weight = np.minimum(alpha**2 / sigma**2, GAMMA).mean()
    best, low, high = (
        float(diffusion(ClosedForm(kind, error), prediction=kind).loss(pairs, draws)) for error in (0, -0.3, 0.3)
    )
    # Cross terms of 20,000 draws average out to about 2 % of the added loss.
    assert low - best == pytest.approx(0.09 * weight, rel=0.1)
    assert high - best == pytest.approx(0.09 * weight, rel=0.1)


def test_from_noise_the_start_is_the_noise():
    started = diffusion(ClosedForm()).start(ControlBatch.alone(Z + 7), conditions(len(Z)), Z)
    assert torch.equal(started, Z)


def test_a_partly_noised_start_holds_the_control_cell():
    """With strength 0.6 the path is entered at t_s = t_min + 0.4 (1 - 2 t_min): mean alpha z, spread sigma."""
    generator = torch.Generator().manual_seed(4)
    controls = ControlBatch.alone(torch.full((N, 1), 2.0))
    started = diffusion(ClosedForm(), strength=0.6).start(
        controls, conditions(N), torch.randn(N, 1, generator=generator)
    )
    t_s = T_MIN + 0.4 * (1 - 2 * T_MIN)
    # 20,000 cells know mean and spread to 0.006 and 0.004.
    assert float(started.mean()) == pytest.approx(2 * math.sin(math.pi / 2 * t_s), abs=0.025)
    assert float(started.std()) == pytest.approx(math.cos(math.pi / 2 * t_s), abs=0.02)


@pytest.mark.parametrize("schedule", [Cosine(), Linear()], ids=repr)
def test_an_untrained_velocity_leaves_noise_as_it_is(schedule):
    """v = 0 is alpha eps = sigma z_1: the clean cell is alpha z_t, and the flow stands still."""
    dynamics = dynamics_of(diffusion(Zero(), schedule=schedule))
    at = torch.tensor(0.7, dtype=torch.float64)
    alpha = schedule.alpha(T_MIN + (1 - 2 * T_MIN) * at)
    torch.testing.assert_close(dynamics.denoiser.clean(at, Z), alpha * Z)
    torch.testing.assert_close(dynamics.drift(at, Z), torch.zeros_like(Z), rtol=0, atol=1e-12)


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_field_is_asked_once_for_a_drift_and_once_for_a_clean_cell(stochastic):
    field = ClosedForm()
    dynamics = dynamics_of(diffusion(field, stochastic=stochastic))
    at = torch.tensor(0.5, dtype=torch.float64)
    dynamics.drift(at, Z)
    assert field.asked == 1
    dynamics.denoiser.clean(at, Z)
    assert field.asked == 2


def test_the_flow_has_no_diffusion_and_heun_refuses_the_reverse_equation():
    assert dynamics_of(diffusion(ClosedForm())).diffusion is None
    with pytest.raises(ValueError, match="diffusion"):
        Heun(3).solve(dynamics_of(diffusion(ClosedForm(), stochastic=True)), Z, unused)


def test_cells_from_noise_depend_on_their_control_cell(device):
    """Trained on z_1 = z_control + 2 + small noise, cells that start from noise alone follow their control cell."""
    generator = torch.Generator().manual_seed(5)
    field = ResidualMLP(1, 1, 1, sees_control=True, width=32, n_blocks=2, generator=generator)
    transport = diffusion(field).to(device)
    optimiser = torch.optim.Adam(transport.parameters(), lr=3e-3)
    rows, condition = torch.arange(512), conditions(512).to(device)

    def cells(n: int) -> torch.Tensor:
        return torch.randn(n, 1, generator=generator).to(device)

    for _ in range(300):
        z = cells(512)
        pairs = PairBatch(ControlBatch.alone(z), z + 2 + 0.1 * cells(512), condition, rows, rows)
        loss = transport.loss(pairs, Draws(torch.rand(512, generator=generator).to(device), cells(512), cells(512)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    controls, condition = ControlBatch.alone(cells(2000)), conditions(2000).to(device)
    with torch.no_grad():
        dynamics = transport.dynamics(controls, condition)
        ended = DPMSolver2M(20).solve(dynamics, transport.start(controls, condition, cells(2000)), unused)
    # 300 steps of 512 pairs leave errors of about 0.1.
    assert float((ended - controls.z).mean()) == pytest.approx(2, abs=0.2)
    assert float(torch.corrcoef(torch.cat([ended, controls.z], dim=1).T)[0, 1]) > 0.8


@pytest.mark.parametrize(
    ("setting", "value"),
    [("strength", 0.0), ("strength", 1.1), ("t_min", 0.0), ("t_min", 0.5), ("min_snr", 0.0), ("prediction", "score")],
)
def test_settings_outside_their_domain_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} is "):
        diffusion(ClosedForm(), **{setting: value})
