"""The bridge between two Gaussians, whose velocity, score, populations and pairs are known in closed form."""

import math

import numpy as np
import pytest
import torch
from stand_ins import Field, NoFeatures, unused

from gensim.nn.residual_mlp import ResidualMLP
from gensim.solvers.ode import Euler, Heun
from gensim.solvers.sde import EulerMaruyama
from gensim.transport.anchored import Anchored
from gensim.transport.base import Draws
from gensim.transport.flow_matching import FlowMatching
from gensim.transport.schrodinger_bridge import SchrodingerBridge
from gensim.types import ConditionBatch, ControlBatch, PairBatch

M_0, S_0, M_1, S_1 = -1.0, 1.0, 2.0, 0.5
SIGMA, T_MIN = 0.8, 0.01
N = 20_000


def cross_covariance(sigma: float) -> float:
    """Cov(z_0, z_1) under the entropic plan of squared cost at reg = 2 sigma²."""
    return 0.5 * math.sqrt(4 * S_0**2 * S_1**2 + sigma**4) - sigma**2 / 2


class ClosedForm(Field):
    """v = dm/dt + dV/dt / 2V (z_t - m) and s = -sigma²/2 (z_t - m) / V for z_t ~ N(m, V), plus errors to add."""

    def __init__(self, sigma: float = SIGMA, error_of_v: float = 0.0, error_of_s: float = 0.0):
        super().__init__()
        self.sigma, self.error_of_v, self.error_of_s = sigma, error_of_v, error_of_s
        self.times: list[torch.Tensor] = []

    def forward(self, z_t, t, context):
        self.times.append(t)
        t, c = t[:, None], cross_covariance(self.sigma)
        m = (1 - t) * M_0 + t * M_1
        variance = (1 - t) ** 2 * S_0**2 + t**2 * S_1**2 + 2 * t * (1 - t) * c + self.sigma**2 * t * (1 - t)
        growth = 2 * (t * S_1**2 - (1 - t) * S_0**2) + (1 - 2 * t) * (2 * c + self.sigma**2)
        v = M_1 - M_0 + growth / (2 * variance) * (z_t - m)
        s = -(self.sigma**2) / 2 * (z_t - m) / variance
        return torch.cat([v + self.error_of_v, s + self.error_of_s], dim=1)


def conditions(n: int, shift: float = 0.0) -> ConditionBatch:
    codes = torch.ones(n, dtype=torch.int64)
    return ConditionBatch(
        codes[:, None], codes[:, None], codes, torch.ones(n, 1), torch.full((n, 1), shift), torch.ones(n)
    )


def bridge_pairs(generator: torch.Generator, sigma: float = SIGMA, shift: float = 0.0) -> tuple[PairBatch, Draws]:
    """Pairs drawn from the entropic plan between the two Gaussians."""
    first, second, eps, path = torch.randn(4, N, 1, generator=generator)
    c = cross_covariance(sigma)
    z_0 = M_0 + S_0 * first
    z_1 = M_1 + shift + c / S_0 * first + math.sqrt(S_1**2 - c**2 / S_0**2) * second
    rows = torch.arange(N)
    pairs = PairBatch(ControlBatch.alone(z_0), z_1, conditions(N, shift), rows, rows)
    return pairs, Draws(torch.rand(N, generator=generator), eps, path)


def controls(generator: torch.Generator, n: int) -> torch.Tensor:
    """(n, 1) control cells whose mean and standard deviation are those of their population, not only in expectation."""
    z = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    return M_0 + S_0 * (z - z.mean()) / z.std()


def bridge(field, sigma=SIGMA, t_min=T_MIN, stochastic=True) -> SchrodingerBridge:
    return SchrodingerBridge(field, NoFeatures(), sigma, t_min, stochastic)


def brownian(generator: torch.Generator, like: torch.Tensor):
    return lambda k: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def test_cells_on_the_path_have_the_stated_mean_and_width():
    """Between two points the cells that the field sees are normal, of width sigma √(t (1 - t)) about the line."""

    class Seen(Field):
        def forward(self, z_t, t, context):
            self.z_t, self.t = z_t.numpy(), t.numpy()
            return torch.zeros(len(z_t), 2 * z_t.shape[1])

    pairs, draws = bridge_pairs(torch.Generator().manual_seed(0))
    seen = Seen()
    bridge(seen, t_min=0.2).loss(pairs, draws)
    t = 0.2 + 0.6 * draws.t.numpy()
    np.testing.assert_allclose(seen.t, t, rtol=1e-6)
    assert 0.2 <= seen.t.min() < 0.201 < 0.799 < seen.t.max() <= 0.8
    off = (seen.z_t - (1 - t[:, None]) * pairs.controls.z.numpy() - t[:, None] * pairs.z_1.numpy())[:, 0]
    for low, high in [(0.2, 0.3), (0.45, 0.55), (0.7, 0.8)]:
        here = (t >= low) & (t < high)
        width = SIGMA * float(np.sqrt(np.mean(t[here] * (1 - t[here]))))
        # About 3,300 cells in each range: the mean is known to 2 % of the width, the width to 1.2 %.
        assert float(off[here].mean()) == pytest.approx(0, abs=0.08 * width)
        assert float(off[here].std()) == pytest.approx(width, rel=0.05)


def test_the_targets_are_the_speed_and_the_score_of_the_path():
    """A field that knows the pairs: v by finite differences of the path at fixed eps, s by finite differences of the
    log density of the bridge. Its loss is 0, and an error in either adds its square, in the stated units."""
    pairs, draws = bridge_pairs(torch.Generator().manual_seed(1))
    z_0, z_1, eps = (part.double().numpy() for part in (pairs.controls.z, pairs.z_1, draws.path))
    h = 1e-5

    def path(t):
        return (1 - t) * z_0 + t * z_1 + SIGMA * np.sqrt(t * (1 - t)) * eps

    def log_density(z, t):
        return -((z - (1 - t) * z_0 - t * z_1) ** 2) / (2 * SIGMA**2 * t * (1 - t))

    class Knowing(Field):
        def __init__(self, error_of_v=0.0, error_of_noise=0.0):
            super().__init__()
            self.error_of_v, self.error_of_noise = error_of_v, error_of_noise

        def forward(self, z_t, t, context):
            z, t = z_t.numpy(), t[:, None].numpy()
            v = (path(t + h) - path(t - h)) / (2 * h) + self.error_of_v
            s = SIGMA**2 / 2 * (log_density(z + h, t) - log_density(z - h, t)) / (2 * h)
            s += self.error_of_noise * SIGMA / (2 * np.sqrt(t * (1 - t)))
            return torch.from_numpy(np.concatenate([v, s], axis=1))

    controls = ControlBatch.alone(pairs.controls.z.double())
    pairs = PairBatch(controls, pairs.z_1.double(), pairs.condition, pairs.source, pairs.target)
    draws = Draws(draws.t.double(), draws.eps.double(), draws.path.double())
    # Central differences at 1e-5 leave relative errors of (h / t_min)² = 1e-6 in v, squared in the loss.
    assert float(bridge(Knowing()).loss(pairs, draws)) == pytest.approx(0, abs=1e-9)
    assert float(bridge(Knowing(error_of_v=0.3)).loss(pairs, draws)) == pytest.approx(0.09, abs=1e-6)
    assert float(bridge(Knowing(error_of_noise=0.2)).loss(pairs, draws)) == pytest.approx(0.04, abs=1e-6)


def test_the_loss_of_the_closed_form_field_is_the_variance_it_cannot_know():
    """All is Gaussian: min loss = ∫ Var u_t - Cov(u_t, z_t)² / Var z_t + 1 - Cov(eps, z_t)² / Var z_t, over the times
    drawn; each field with an error has a higher loss, by the square of the error in the weights of the loss."""
    pairs, draws = bridge_pairs(torch.Generator().manual_seed(2))
    t_min, c = 0.05, cross_covariance(SIGMA)
    t = np.linspace(t_min, 1 - t_min, 20_001)
    sigma_t = SIGMA * np.sqrt(t * (1 - t))
    speed_of_sigma = SIGMA * (1 - 2 * t) / (2 * np.sqrt(t * (1 - t)))
    variance = (1 - t) ** 2 * S_0**2 + t**2 * S_1**2 + 2 * t * (1 - t) * c + sigma_t**2
    variance_of_u = S_0**2 + S_1**2 - 2 * c + speed_of_sigma**2
    covariance = -(1 - t) * S_0**2 + t * S_1**2 + (1 - 2 * t) * c + sigma_t * speed_of_sigma
    expected = np.mean(variance_of_u - covariance**2 / variance + 1 - sigma_t**2 / variance)

    def loss(**errors) -> float:
        return float(bridge(ClosedForm(**errors), t_min=t_min).loss(pairs, draws))

    # The standard error of a mean over 20,000 squares is about 1 %.
    assert loss() == pytest.approx(expected, rel=0.04)
    # The cross term of error and residual averages out to 2 error / √20,000 = 0.4 % of 1.
    assert loss(error_of_v=0.3) - loss() == pytest.approx(0.09, abs=0.02)
    weight = np.mean((2 * np.sqrt(t * (1 - t)) / SIGMA) ** 2)
    assert loss(error_of_s=0.3) - loss() == pytest.approx(weight * 0.09, abs=0.02)
    for error in (-0.3, 0.3):
        assert min(loss(error_of_v=error), loss(error_of_s=error)) > loss() + 0.05


def test_the_diffusion_ends_at_the_target_and_keeps_the_pairs():
    """z_1 has mean M_1, spread S_1 and with z_0 the cross-covariance of the entropic plan: 0.27, where the optimal plan
    has 0.5 and independent cells have 0."""
    generator = torch.Generator().manual_seed(3)
    z_0 = controls(generator, 40_000)
    dynamics = bridge(ClosedForm(), t_min=1e-3).dynamics(ControlBatch.alone(z_0), conditions(40_000))
    z_1 = EulerMaruyama(200).solve(dynamics, z_0, brownian(generator, z_0))
    cross = float(((z_0 - M_0) * (z_1 - M_1)).mean())
    # 40,000 cells know each number to 0.003 or better; 200 steps are off by about 0.005.
    assert float(z_1.mean()) == pytest.approx(M_1, abs=0.015)
    assert float(z_1.std()) == pytest.approx(S_1, abs=0.015)
    assert cross == pytest.approx(cross_covariance(SIGMA), abs=0.02)


def test_the_flow_ends_at_the_target():
    """The probability-flow ODE between Gaussians ends at the optimal map, which makes the one of the other."""
    z_0 = torch.linspace(-3, 1, 9, dtype=torch.float64)[:, None]
    flow = bridge(ClosedForm(), t_min=1e-4, stochastic=False)
    ended = Heun(200).solve(flow.dynamics(ControlBatch.alone(z_0), conditions(9)), z_0, unused)
    # Times within t_min of the ends are taken as t_min: cells are off by about t_min of their distance.
    torch.testing.assert_close(ended, M_1 + S_1 / S_0 * (z_0 - M_0), rtol=0, atol=2e-3)


def test_a_trained_field_finds_the_end(device):
    generator = torch.Generator().manual_seed(4)
    field = ResidualMLP(1, 1, 2, sees_control=False, width=32, n_blocks=2, generator=generator)
    model = bridge(field).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    pairs, draws = bridge_pairs(generator)
    for _ in range(300):
        rows = torch.randint(N, (512,), generator=generator)
        few, drawn = pairs[rows], draws[rows]
        at = ControlBatch.alone(few.controls.z.to(device))
        few = PairBatch(at, few.z_1.to(device), few.condition.to(device), few.source, few.target)
        loss = model.loss(few, Draws(*(part.to(device) for part in (drawn.t, drawn.eps, drawn.path))))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z_0 = controls(generator, 4000).float().to(device)
    noise = brownian(generator, torch.empty(4000, 1))
    with torch.no_grad():
        dynamics = model.dynamics(ControlBatch.alone(z_0), conditions(4000).to(device))
        z_1 = EulerMaruyama(50).solve(dynamics, z_0, lambda k: noise(k).to(device))
    # 300 steps of 512 pairs leave errors of a few hundredths.
    assert float(z_1.mean()) == pytest.approx(M_1, abs=0.1)
    assert float(z_1.std()) == pytest.approx(S_1, abs=0.1)
    assert float(((z_0 - M_0) * (z_1 - M_1)).mean()) == pytest.approx(cross_covariance(SIGMA), abs=0.12)


def test_with_hardly_any_noise_the_loss_is_that_of_flow_matching():
    """Of a field without score the score's part of the loss is mean eps²; what remains is flow matching's loss at the
    same times."""

    class Plain(Field):
        def forward(self, z_t, t, context):
            return torch.sin(z_t) + t[:, None]

    class WithoutScore(Field):
        def forward(self, z_t, t, context):
            return torch.cat([Plain()(z_t, t, context), torch.zeros_like(z_t)], dim=1)

    sigma = 1e-3
    pairs, draws = bridge_pairs(torch.Generator().manual_seed(5), sigma)
    of_v = float(bridge(WithoutScore(), sigma).loss(pairs, draws)) - float(draws.path.square().mean())
    same_times = Draws(T_MIN + (1 - 2 * T_MIN) * draws.t, draws.eps, draws.path)
    # The noise moves u_t by up to sigma / 2 √t_min = 0.005, of either sign.
    assert of_v == pytest.approx(float(FlowMatching(Plain(), NoFeatures()).loss(pairs, same_times)), rel=1e-3)


@pytest.mark.parametrize("stochastic", [True, False])
def test_with_hardly_any_noise_cells_end_where_flow_matching_takes_them(stochastic):
    class Straight(Field):
        """The velocity of flow matching with optimal pairs, of which Euler's method is exact."""

        def forward(self, z_t, t, context):
            t = t[:, None]
            source = (z_t - t * (M_1 - S_1 / S_0 * M_0)) / (1 - t + t * S_1 / S_0)
            return M_1 - M_0 + (S_1 / S_0 - 1) * (source - M_0)

    generator = torch.Generator().manual_seed(6)
    z_0 = torch.linspace(-3, 1, 9, dtype=torch.float64)[:, None]
    at, condition, sigma = ControlBatch.alone(z_0), conditions(9), 1e-3
    ended = Euler(1).solve(FlowMatching(Straight(), NoFeatures()).dynamics(at, condition), z_0, unused)
    dynamics = bridge(ClosedForm(sigma), sigma, t_min=1e-4, stochastic=stochastic).dynamics(at, condition)
    solver, noise = (EulerMaruyama(100), brownian(generator, z_0)) if stochastic else (Euler(100), unused)
    # Four standard deviations of the bridge's noise.
    torch.testing.assert_close(solver.solve(dynamics, z_0, noise), ended, rtol=0, atol=4 * sigma)


def test_anchored_cells_end_the_mean_effect_further():
    """Under the same noise every cell ends exactly 1.25 further; shifted pairs have the loss of the pairs."""
    generator = torch.Generator().manual_seed(7)
    plain, shifted = (bridge_pairs(torch.Generator().manual_seed(7), shift=shift) for shift in (0.0, 1.25))
    model = bridge(ClosedForm())
    torch.testing.assert_close(Anchored(model).loss(*shifted), model.loss(*plain))
    z_0 = controls(generator, 50)
    at, draws = ControlBatch.alone(z_0), torch.randn(20, 50, 1, generator=generator, dtype=torch.float64)
    ends = [
        EulerMaruyama(20).solve(one.dynamics(at, conditions(50, shift=1.25)), z_0, lambda k: draws[k])
        for one in (model, Anchored(model))
    ]
    torch.testing.assert_close(ends[1], ends[0] + 1.25, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("stochastic", "solver"), [(True, EulerMaruyama(5)), (False, Euler(5))])
def test_the_field_is_asked_once_per_step_and_only_where_it_learnt(stochastic, solver):
    field, z_0 = ClosedForm(), torch.zeros(3, 1)
    dynamics = bridge(field, t_min=0.25, stochastic=stochastic).dynamics(ControlBatch.alone(z_0), conditions(3))
    solver.solve(dynamics, z_0, lambda k: torch.zeros(3, 1))
    expected = np.clip(np.arange(5) / 5, 0.25, 0.75)[:, None].repeat(3, axis=1)
    np.testing.assert_allclose(torch.stack(field.times).numpy(), expected, rtol=1e-6)


def test_cells_start_at_their_control_cells():
    z, eps = torch.full((2, 1), 2.0), torch.full((2, 1), 3.0)
    assert torch.equal(bridge(ClosedForm()).start(ControlBatch.alone(z), conditions(2), eps), z)


@pytest.mark.parametrize(("stochastic", "solver"), [(True, Heun(3)), (False, EulerMaruyama(3))])
def test_the_wrong_kind_of_solver_is_refused(stochastic, solver):
    z_0 = torch.zeros(3, 1)
    dynamics = bridge(ClosedForm(), stochastic=stochastic).dynamics(ControlBatch.alone(z_0), conditions(3))
    with pytest.raises(ValueError, match="diffusion"):
        solver.solve(dynamics, z_0, lambda k: torch.zeros(3, 1))


@pytest.mark.parametrize("sigma", [0.0, -0.1])
def test_sigma_that_is_not_positive_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma"):
        bridge(ClosedForm(), sigma=sigma)


@pytest.mark.parametrize("t_min", [0.0, -0.1, 0.5])
def test_t_min_outside_0_and_one_half_is_refused(t_min):
    with pytest.raises(ValueError, match="t_min"):
        bridge(ClosedForm(), t_min=t_min)
