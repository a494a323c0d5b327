"""Guidance of fields in closed form: the formula, its two ends, and where a guided population arrives."""

import math

import pytest
import torch
from stand_ins import unused

from gensim.solvers.ode import Euler, Heun
from gensim.transport.anchored import Anchored
from gensim.transport.base import Transport
from gensim.transport.flow_matching import FlowMatching
from gensim.transport.guidance import Guided
from gensim.types import ConditionBatch, ControlBatch, Denoiser, Dynamics, PairBatch

M_0, M_C, M_U = -1.0, 2.0, 0.5
"""Means of the controls, of the perturbed cells of the condition, and of all perturbed cells."""


def conditions(n: int, shift: float = 0.0) -> ConditionBatch:
    codes = torch.ones(n, dtype=torch.int64)
    return ConditionBatch(
        codes[:, None], codes[:, None], codes, torch.full((n, 1), 3.0), torch.full((n, 1), shift), torch.ones(n)
    )


class Shown(torch.nn.Module):
    """An encoder whose one feature is 1 where all is shown and 0 where all is hidden."""

    n_features = 1

    def forward(self, condition):
        columns = [condition.perturbations, condition.contexts, condition.batch[:, None]]
        shown = torch.cat([*columns, condition.dose != 1], dim=1).bool()
        assert (shown.all(dim=1) | ~shown.any(dim=1)).all(), "a condition is half hidden"
        return shown[:, :1].to(condition.shift.dtype)


class Linear(torch.nn.Module):
    """slope z + offset, one pair of numbers where the condition is shown and another where it is hidden."""

    def __init__(self, shown: tuple[float, float], hidden: tuple[float, float]):
        super().__init__()
        self.shown, self.hidden = shown, hidden
        self.calls = 0

    def context(self, features, controls):
        return features

    def forward(self, z_t, t, context):
        self.calls += 1
        (a_c, b_c), (a_u, b_u) = self.shown, self.hidden
        return torch.where(context > 0, a_c * z_t + b_c, a_u * z_t + b_u)


def flow(shown: tuple[float, float], hidden: tuple[float, float]) -> FlowMatching:
    return FlowMatching(Linear(shown, hidden), Shown())


def ended(transport: Transport, z_0: torch.Tensor, condition: ConditionBatch, solver) -> torch.Tensor:
    controls = ControlBatch.alone(z_0)
    started = transport.start(controls, condition, torch.zeros_like(z_0))
    return solver.solve(transport.dynamics(controls, condition), started, unused)


CELLS = torch.linspace(-3, 1, 9, dtype=torch.float64)[:, None]


def test_strength_1_is_the_inner_transport_at_its_price():
    inner = flow((0.7, 1.1), (-0.3, 0.4))
    alone, guided = (each.dynamics(ControlBatch.alone(CELLS), conditions(9)) for each in (inner, Guided(inner, 1.0)))
    t = torch.tensor(0.3)
    assert torch.equal(guided.drift(t, CELLS), alone.drift(t, CELLS))
    inner.field.calls = 0
    guided.drift(t, CELLS)
    assert inner.field.calls == 1


def test_strength_0_does_not_see_the_condition():
    inner = flow((0.7, 1.1), (-0.3, 0.4))
    drift = Guided(inner, 0.0).dynamics(ControlBatch.alone(CELLS), conditions(9, shift=1.25)).drift
    torch.testing.assert_close(drift(torch.tensor(0.3), CELLS), -0.3 * CELLS + 0.4)
    assert inner.field.calls == 1


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.5])
def test_a_guided_linear_field_is_the_linear_field_of_guided_numbers(strength):
    """dz = (a z + b) dt ends at e^a z_0 + b (e^a - 1) / a, with a and b each guided."""
    a, b = -0.3 + strength * (0.7 + 0.3), 0.4 + strength * (1.1 - 0.4)
    transport = Guided(flow((0.7, 1.1), (-0.3, 0.4)), strength)
    expected = math.exp(a) * CELLS + b * math.expm1(a) / a
    # Heun's error falls as h²: about |a|³ e^a / 6 · (1/200)² · |z| < 1e-3 for a = 2.2, |z| up to 3.
    torch.testing.assert_close(ended(transport, CELLS, conditions(9), Heun(200)), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 3.0])
def test_a_guided_population_ends_beyond_its_condition(strength):
    """Straight flows between Gaussians of one width move every cell by m_c - m_0, or m_u - m_0 where all is hidden."""
    transport = Guided(flow((0.0, M_C - M_0), (0.0, M_U - M_0)), strength)
    z_0 = M_0 + torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z_1 = ended(transport, z_0, conditions(50), Euler(3))
    torch.testing.assert_close(z_1 - z_0, torch.full_like(z_0, M_U + strength * (M_C - M_U) - M_0))


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
def test_around_an_anchor_the_mean_effect_is_guided_too(strength):
    """An untrained anchored model moves cells by the mean effect, and by nothing where that is hidden."""
    transport = Guided(Anchored(flow((0.0, 0.0), (0.0, 0.0))), strength)
    z_1 = ended(transport, CELLS, conditions(9, shift=1.25), Euler(5))
    torch.testing.assert_close(z_1, CELLS + strength * 1.25)


class Noisy(Transport):
    """A stochastic transport with a denoiser, all of whose parts say whether the condition was shown."""

    def loss(self, pairs, draws):
        return pairs.z_1.sum()

    def start(self, controls, condition, eps):
        return controls.z + condition.shift

    def dynamics(self, controls, condition):
        shown = Shown()(condition)

        def field(a: float, b: float):
            return lambda t, z: t * z + torch.where(shown > 0, a, b)

        return Dynamics(field(5, 3), field(11, 7), Denoiser(lambda t: t, lambda t: 1 - t, field(2, -1)))

    def arrival(self, t):
        return t**2


def test_denoisers_are_guided_and_diffusions_are_not():
    guided = Guided(Noisy(), 3.0).dynamics(ControlBatch.alone(CELLS), conditions(9))
    t = torch.tensor(0.25, dtype=torch.float64)
    torch.testing.assert_close(guided.drift(t, CELLS), t * CELLS + 3 + 3 * (5 - 3))
    torch.testing.assert_close(guided.denoiser.clean(t, CELLS), t * CELLS - 1 + 3 * (2 + 1))
    torch.testing.assert_close(guided.diffusion(t, CELLS), t * CELLS + 11)
    assert (float(guided.denoiser.alpha(t)), float(guided.denoiser.sigma(t))) == (0.25, 0.75)


def test_all_but_the_dynamics_is_the_inner_transport_s_under_the_condition():
    inner, condition, rows = Noisy(), conditions(9, shift=1.25), torch.arange(9)
    guided, controls = Guided(inner, 3.0), ControlBatch.alone(CELLS)
    torch.testing.assert_close(guided.start(controls, condition, CELLS), CELLS + 1.25)
    assert float(guided.arrival(torch.tensor(0.5))) == 0.25
    assert torch.equal(guided.loss(PairBatch(controls, CELLS, condition, rows, rows), None), CELLS.sum())


@pytest.mark.parametrize("strength", [-0.5, math.inf, math.nan])
def test_a_strength_that_means_nothing_is_refused(strength):
    with pytest.raises(ValueError, match="strength is"):
        Guided(Noisy(), strength)
