"""Flow matching between Gaussians, where velocity and end map are known in closed form."""

import pytest
import torch
from stand_ins import Field, NoFeatures, unused

from gensim.nn.residual_mlp import ResidualMLP
from gensim.solvers.ode import Euler, Heun
from gensim.transport.anchored import Anchored
from gensim.transport.base import Draws
from gensim.transport.flow_matching import FlowMatching
from gensim.types import ConditionBatch, ControlBatch, PairBatch

M_0, S_0, M_1, S_1 = -1.0, 1.0, 2.0, 0.5
N = 20_000


class ClosedForm(Field):
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
    return ConditionBatch(
        codes[:, None], codes[:, None], codes, torch.ones(n, 1), torch.full((n, 1), shift), torch.ones(n)
    )


def gaussian_pairs(generator: torch.Generator, optimal: bool, shift: float = 0.0) -> tuple[PairBatch, Draws]:
    z_0 = M_0 + S_0 * torch.randn(N, 1, generator=generator)
    z_1 = M_1 + S_1 * torch.randn(N, 1, generator=generator)
    if optimal:
        z_1 = M_1 + S_1 / S_0 * (z_0 - M_0)
    rows = torch.arange(N)
    eps, path = torch.randn(2, N, 1, generator=generator)
    draws = Draws(torch.rand(N, generator=generator), eps, path)
    return PairBatch(ControlBatch.alone(z_0), z_1, conditions(N, shift), rows, rows), draws


def transport(field, sigma=0.0, noise=0.0) -> FlowMatching:
    return FlowMatching(field, NoFeatures(), sigma, noise)


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
    dynamics = transport(ClosedForm()).dynamics(ControlBatch.alone(z_0), conditions(9))
    ended = Heun(400).solve(dynamics, z_0, unused)
    torch.testing.assert_close(ended, M_1 + S_1 / S_0 * (z_0 - M_0), rtol=0, atol=1e-4)


def test_optimal_pairs_make_straight_paths_on_which_euler_is_exact():
    """With z_1 = m_1 + s_1/s_0 (z_0 - m_0) the velocity along a path is constant, so the minimal loss is 0."""

    class Straight(Field):
        def forward(self, z_t, t, condition):
            t = t[:, None]
            source = (z_t - t * (M_1 - S_1 / S_0 * M_0)) / (1 - t + t * S_1 / S_0)
            return M_1 - M_0 + (S_1 / S_0 - 1) * (source - M_0)

    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(1), optimal=True)
    flow = transport(Straight())
    assert float(flow.loss(pairs, draws)) < 1e-9
    ended = Euler(1).solve(flow.dynamics(pairs.controls, pairs.condition), pairs.controls.z, unused)
    torch.testing.assert_close(ended, pairs.z_1, rtol=0, atol=1e-5)


def test_a_trained_field_finds_the_end_map(device):
    generator = torch.Generator().manual_seed(2)
    field = ResidualMLP(1, 1, 1, sees_control=False, width=32, n_blocks=2, generator=generator)
    flow = transport(field).to(device)
    optimiser = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(300):
        pairs, draws = gaussian_pairs(generator, optimal=False)
        few = pairs[:512]
        controls = ControlBatch.alone(few.controls.z.to(device))
        few = PairBatch(controls, few.z_1.to(device), few.condition.to(device), few.source, few.target)
        loss = flow.loss(few, Draws(*(part[:512].to(device) for part in (draws.t, draws.eps, draws.path))))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z_0 = (M_0 + S_0 * torch.randn(4000, 1, generator=generator)).to(device)
    with torch.no_grad():
        z_1 = Heun(20).solve(flow.dynamics(ControlBatch.alone(z_0), conditions(4000).to(device)), z_0, unused)
    # 300 steps of 512 pairs leave errors of a few hundredths.
    assert float(z_1.mean()) == pytest.approx(M_1, abs=0.08)
    assert float(z_1.std()) == pytest.approx(S_1, abs=0.08)


def test_an_untrained_anchored_model_is_the_mean_shift():
    generator = torch.Generator().manual_seed(3)
    field = ResidualMLP(1, 1, 1, sees_control=False, width=16, n_blocks=2, generator=generator)
    z_0 = torch.randn(5, 1, generator=generator)
    controls, condition = ControlBatch.alone(z_0), conditions(5, shift=1.25)
    for flow, expected in [(Anchored(transport(field)), z_0 + 1.25), (transport(field), z_0)]:
        ended = Euler(7).solve(flow.dynamics(controls, condition), flow.start(controls, condition, z_0), unused)
        torch.testing.assert_close(ended, expected)


def test_an_anchored_transport_shows_its_inner_one_cells_without_the_mean_effect():
    """The inner loss of pairs that end 1.25 further, with that mean effect, is the loss of the pairs themselves."""
    plain, draws = gaussian_pairs(torch.Generator().manual_seed(7), optimal=False)
    shifted = PairBatch(plain.controls, plain.z_1 + 1.25, conditions(N, shift=1.25), plain.source, plain.target)
    flow = transport(ClosedForm())
    torch.testing.assert_close(Anchored(flow).loss(shifted, draws), flow.loss(plain, draws))


def test_an_anchored_flow_ends_the_mean_effect_further():
    z_0 = torch.linspace(-3, 1, 9, dtype=torch.float64)[:, None]
    flow, condition = Anchored(transport(ClosedForm())), conditions(9, shift=1.25)
    ended = Heun(400).solve(flow.dynamics(ControlBatch.alone(z_0), condition), z_0, unused)
    torch.testing.assert_close(ended, 1.25 + M_1 + S_1 / S_0 * (z_0 - M_0), rtol=0, atol=1e-4)


def test_the_start_mixes_control_cell_and_noise():
    z, eps = torch.full((1, 1), 2.0), torch.full((1, 1), 3.0)
    for noise, expected in [(0.0, 2.0), (1.0, 3.0), (0.36, 0.8 * 2 + 0.6 * 3)]:
        started = transport(ClosedForm(), noise=noise).start(ControlBatch.alone(z), conditions(1), eps)
        assert float(started) == pytest.approx(expected)


def test_a_flow_from_noise_learns_towards_its_targets():
    """The path starts at eps: of a field that returns 0, the loss is E|z_1 - eps|² = M_1² + S_1² + 1."""

    class Zero(Field):
        def forward(self, z_t, t, condition):
            return torch.zeros_like(z_t)

    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(8), optimal=False)
    # The square of a mean over 20,000 draws is known to about 1 %.
    assert float(transport(Zero(), noise=1.0).loss(pairs, draws)) == pytest.approx(M_1**2 + S_1**2 + 1, rel=0.05)


def test_noise_on_the_path_has_the_stated_width():
    """A field that returns z_t has the loss E|z_t - u_t|², which grows by sigma² against a path without noise."""

    class Identity(Field):
        def forward(self, z_t, t, condition):
            return z_t

    pairs, draws = gaussian_pairs(torch.Generator().manual_seed(5), optimal=False)
    without, with_noise = (float(transport(Identity(), sigma).loss(pairs, draws)) for sigma in (0.0, 2.0))
    # Cross terms of 20,000 draws average out to about 2 % of sigma² = 4.
    assert with_noise - without == pytest.approx(4.0, abs=0.25)


def test_negative_sigma_is_refused():
    with pytest.raises(ValueError, match="sigma"):
        transport(ClosedForm(), sigma=-0.1)


@pytest.mark.parametrize("noise", [-0.1, 1.1])
def test_a_share_of_noise_outside_0_and_1_is_refused(noise):
    with pytest.raises(ValueError, match="noise"):
        transport(ClosedForm(), noise=noise)
