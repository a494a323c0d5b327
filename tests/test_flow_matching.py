"""Flow matching between Gaussians, where velocity and end map are known in closed form."""

import pytest
import torch

from gensim.nn.field import ResidualMLP
from gensim.solvers.ode import Euler, Heun
from gensim.transport.base import Draws
from gensim.transport.flow_matching import FlowMatching
from gensim.types import ConditionBatch, PairBatch

M_0, S_0, M_1, S_1 = -1.0, 1.0, 2.0, 0.5
N = 20_000


class NoFeatures(torch.nn.Module):
    """An encoder that says nothing of the condition."""

    n_features = 1

    def forward(self, condition):
        return torch.zeros(len(condition), 1, dtype=condition.shift.dtype)


class ClosedForm(torch.nn.Module):
    """E[z_1 - z_0 | z_t] for independent pairs of Gaussians, plus an error to add."""

    def __init__(self, error: float = 0.0):
        super().__init__()
        self.error = error

    def forward(self, z_t, t, condition):
        t = t[:, None]
        variance = (1 - t) ** 2 * S_0**2 + t**2 * S_1**2
        mean = (1 - t) * M_0 + t * M_1
        return M_1 - M_0 + (t * S_1**2 - (1 - t) * S_0**2) / variance * (z_t - mean) + self.error


def conditions(n: int, shift: float = 0.0) -> ConditionBatch:
    codes = torch.ones(n, dtype=torch.int64)
    return ConditionBatch(codes[:, None], codes[:, None], codes, torch.ones(n), torch.full((n, 1), shift))


def gaussian_pairs(generator: torch.Generator, optimal: bool, shift: float = 0.0) -> tuple[PairBatch, Draws]:
    z_0 = M_0 + S_0 * torch.randn(N, 1, generator=generator)
    z_1 = M_1 + S_1 * torch.randn(N, 1, generator=generator)
    if optimal:
        z_1 = M_1 + S_1 / S_0 * (z_0 - M_0)
    rows = torch.arange(N)
    draws = Draws(torch.rand(N, generator=generator), torch.randn(N, 1, generator=generator))
    return PairBatch(z_0, z_1, conditions(N, shift), rows, rows), draws


def transport(field, sigma=0.0, anchored=False) -> FlowMatching:
    return FlowMatching(field, NoFeatures(), sigma, anchored)


def test_the_loss_of_the_closed_form_velocity_is_the_variance_it_cannot_know():
    """min loss = E Var(z_1 - z_0 | z_t) = ∫ S_0² S_1² / ((1-t)² S_0² + t² S_1²) dt = S_0 S_1 π/2 (both ends)."""
    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(0), optimal=False)
    expected = S_0 * S_1 * torch.pi / 2
    # Standard error of a mean over 20,000 squares is about 1 %.
    assert float(transport(ClosedForm()).loss(pairs, draws)) == pytest.approx(expected, rel=0.04)
    wrong = float(transport(ClosedForm(error=0.3)).loss(pairs, draws))
    assert wrong - float(transport(ClosedForm()).loss(pairs, draws)) == pytest.approx(0.3**2, abs=0.02)


def test_the_closed_form_velocity_ends_at_the_optimal_map():
    z_0 = torch.linspace(-3, 1, 9, dtype=torch.float64)[:, None]
    dynamics = transport(ClosedForm()).dynamics(z_0, conditions(9))
    ended = Heun(400).solve(dynamics, z_0)
    torch.testing.assert_close(ended, M_1 + S_1 / S_0 * (z_0 - M_0), rtol=0, atol=1e-4)


def test_optimal_pairs_make_straight_paths_on_which_euler_is_exact():
    """With z_1 = m_1 + s_1/s_0 (z_0 - m_0) the velocity along a path is constant, so the minimal loss is 0."""

    class Straight(torch.nn.Module):
        def forward(self, z_t, t, condition):
            t = t[:, None]
            source = (z_t - t * (M_1 - S_1 / S_0 * M_0)) / (1 - t + t * S_1 / S_0)
            return M_1 - M_0 + (S_1 / S_0 - 1) * (source - M_0)

    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(1), optimal=True)
    flow = transport(Straight())
    assert float(flow.loss(pairs, draws)) < 1e-9
    ended = Euler(1).solve(flow.dynamics(pairs.z_0, pairs.condition), pairs.z_0)
    torch.testing.assert_close(ended, pairs.z_1, rtol=0, atol=1e-5)


def test_a_trained_field_finds_the_end_map(device):
    generator = torch.Generator().manual_seed(2)
    field = ResidualMLP(1, 1, width=32, n_blocks=2, generator=generator)
    flow = transport(field).to(device)
    optimiser = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(300):
        pairs, draws = gaussian_pairs(generator, optimal=False)
        few = slice(0, 512)
        part = PairBatch(
            pairs.z_0[few].to(device), pairs.z_1[few].to(device), pairs.condition[few].to(device),
            pairs.source[few], pairs.target[few],
        )  # fmt: skip
        loss = flow.loss(part, Draws(draws.t[few].to(device), draws.eps[few].to(device)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z_0 = (M_0 + S_0 * torch.randn(4000, 1, generator=generator)).to(device)
    with torch.no_grad():
        z_1 = Heun(20).solve(flow.dynamics(z_0, conditions(4000).to(device)), z_0)
    # 300 steps of 512 pairs leave errors of a few hundredths.
    assert float(z_1.mean()) == pytest.approx(M_1, abs=0.08)
    assert float(z_1.std()) == pytest.approx(S_1, abs=0.08)


def test_an_untrained_anchored_model_is_the_mean_shift():
    field = ResidualMLP(1, 1, width=16, n_blocks=2, generator=torch.Generator().manual_seed(3))
    z_0 = torch.randn(5, 1, generator=torch.Generator().manual_seed(4))
    anchored = transport(field, anchored=True)
    ended = Euler(7).solve(anchored.dynamics(z_0, conditions(5, shift=1.25)), anchored.start(z_0, z_0))
    torch.testing.assert_close(ended, z_0 + 1.25)
    free = transport(field)
    torch.testing.assert_close(Euler(7).solve(free.dynamics(z_0, conditions(5, shift=1.25)), z_0), z_0)


def test_noise_on_the_path_has_the_stated_width():
    """A field that returns z_t has the loss E|z_t - u_t|², which grows by sigma² against a path without noise."""

    class Identity(torch.nn.Module):
        def forward(self, z_t, t, condition):
            return z_t

    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(5), optimal=False)
    without, with_noise = (float(transport(Identity(), sigma).loss(pairs, draws)) for sigma in (0.0, 2.0))
    # Cross terms of 20,000 draws average out to about 2 % of sigma² = 4.
    assert with_noise - without == pytest.approx(4.0, abs=0.25)


def test_negative_sigma_is_refused():
    with pytest.raises(ValueError, match="sigma"):
        transport(ClosedForm(), sigma=-0.1)
