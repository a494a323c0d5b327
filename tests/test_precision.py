"""bfloat16 and compiled fields: what is rounded, what is not, and that no cell depends on how it was asked for."""

from functools import partial

import pytest
import torch
from stand_ins import unused

from gensim import build
from gensim.config import SolverConfig
from gensim.errors import ConfigError
from gensim.nn.compiled import compile_fields
from gensim.nn.residual_mlp import ResidualMLP
from gensim.solvers.ode import Euler, Heun, Midpoint, TorchDiffEq
from gensim.solvers.precision import LowPrecision
from gensim.solvers.sde import EulerMaruyama
from gensim.types import Denoiser, Dynamics

BF16 = 2.0**-8
"""Largest relative rounding of a number to bfloat16, which has 8 significant bits."""


@pytest.fixture
def z_0(device):
    return torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).to(device)


@pytest.fixture
def rotation(device):
    """dz/dt = A z + b as a layer; a quarter turn in the first two latents."""
    layer = torch.nn.Linear(3, 3, device=device)
    with torch.no_grad():
        quarter = torch.pi / 2
        layer.weight.copy_(torch.tensor([[0.0, -quarter, 0.0], [quarter, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        layer.bias.copy_(torch.tensor([0.0, 0.0, 0.7]))
    return layer


def turned(z_0):
    """The closed form of `rotation` at t = 1."""
    return torch.stack([-z_0[:, 1], z_0[:, 0], z_0[:, 2] + 0.7], dim=1)


@torch.no_grad()
@pytest.mark.parametrize("inner", [Midpoint(32), Heun(32), TorchDiffEq("dopri5", 1e-4, 1)])
def test_matrix_products_are_rounded_and_sums_are_not(inner, rotation, z_0):
    dynamics = Dynamics(lambda t, z: rotation(z))
    low, full = LowPrecision(inner).solve(dynamics, z_0, unused), inner.solve(dynamics, z_0, unused)
    assert low.dtype == torch.float32
    assert not torch.equal(low, full)
    # Cells move by up to 3 * pi / 2; input, weight and output of the product are rounded once each.
    torch.testing.assert_close(low, turned(z_0), rtol=0, atol=3 * BF16 * 4.7)
    # The third latent grows by 0.7 in equal steps. Were the sum kept in bfloat16, a step of 0.7 / 32 would be lost
    # to rounding beside cells above 4; here only the velocity itself is rounded.
    torch.testing.assert_close(low[:, 2], z_0[:, 2] + 0.7, rtol=0, atol=0.7 * BF16 + 1e-5)


@torch.no_grad()
def test_a_drift_without_matrix_product_is_exact(z_0):
    dynamics = Dynamics(lambda t, z: (1 + t) * z.sin())
    assert torch.equal(LowPrecision(Heun(8)).solve(dynamics, z_0, unused), Heun(8).solve(dynamics, z_0, unused))


@torch.no_grad()
def test_sums_stay_float32_inside_a_callers_autocast(z_0, device):
    """A solver's own matrix products are not the dynamics'."""

    class Doubles:
        order = None

        def solve(self, dynamics, z, noise):
            return z @ (2 * torch.eye(3, device=device))

    with torch.autocast(torch.device(device).type, torch.bfloat16):
        assert torch.equal(LowPrecision(Doubles()).solve(Dynamics(lambda t, z: z), z_0, unused), 2 * z_0)


@pytest.mark.parametrize("inner", [Euler(3), Heun(3), EulerMaruyama(3), TorchDiffEq("dopri5", 1e-4, 1)])
def test_the_order_is_that_of_the_inner_solver(inner):
    assert LowPrecision(inner).order == inner.order


@torch.no_grad()
def test_noise_and_diffusion_pass_as_they_are(z_0):
    """Without a drift every cell ends at z_0 + sum of sqrt(h) sigma noise, exactly as without the wrapper."""
    asked = []

    def noise(step):
        asked.append(step)
        return torch.randn(z_0.shape, generator=torch.Generator().manual_seed(step)).to(z_0.device)

    dynamics = Dynamics(lambda t, z: torch.zeros_like(z), diffusion=lambda t, z: torch.full_like(z, 0.3))
    low = LowPrecision(EulerMaruyama(4)).solve(dynamics, z_0, noise)
    assert asked == [0, 1, 2, 3]
    expected = z_0 + 0.5 * 0.3 * sum(noise(step) for step in range(4))
    torch.testing.assert_close(low, expected, rtol=0, atol=1e-6)  # float32 sums in another order


@torch.no_grad()
def test_a_denoiser_is_rounded_as_well(rotation, z_0):
    class Cleans:
        """One step from denoiser to denoiser."""

        order = 1

        def solve(self, dynamics, z, noise):
            return dynamics.denoiser.clean(torch.zeros(()), z)

    denoiser = Denoiser(lambda t: t, lambda t: 1 - t, lambda t, z: rotation(z))
    low = LowPrecision(Cleans()).solve(Dynamics(lambda t, z: z, denoiser=denoiser), z_0, unused)
    assert low.dtype == torch.float32
    assert torch.equal(low, low.bfloat16().float())
    assert not torch.equal(low, rotation(z_0))


def field(device, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = ResidualMLP(3, 2, 3, sees_control=False, width=8, n_blocks=1, generator=generator)
    with torch.no_grad():
        for parameter in made.parameters():  # an untrained field is 0
            parameter.normal_(std=0.3, generator=generator)
    return made.to(device)


@torch.no_grad()
def test_compiled_fields_agree_and_are_compiled_for_one_shape(z_0, device, monkeypatch):
    # Traced and guarded as always, but run by torch's own kernels: a C++ compiler would take most of a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, model = field(device), torch.nn.Sequential(torch.nn.Linear(1, 1), field(device))
    names = list(model.state_dict())
    compile_fields(model, device)
    compiled = model[1]
    assert list(model.state_dict()) == names

    context = torch.ones(64, 2, device=device)

    def solve(network, z):
        return Heun(3).solve(Dynamics(lambda t, z: network(z, t.expand(len(z)), context)), z, unused)

    first = solve(compiled, z_0)
    with torch.compiler.set_stance("fail_on_recompile"):
        again = solve(compiled, z_0)
        # The same cells in other company: what else is in the block changes no cell.
        mixed = solve(compiled, torch.cat([z_0[:16], 5 + z_0[16:]]))
        with pytest.raises(RuntimeError, match="recompile"):  # so this is a compiled field, and another shape is new
            compiled(z_0[:7], torch.zeros(7, device=device), context[:7])
    assert torch.equal(first, again)
    assert torch.equal(first[:16], mixed[:16])
    torch.testing.assert_close(first, solve(plain, z_0), rtol=1e-5, atol=1e-5)  # sums may be taken in another order


@torch.no_grad()
def test_without_a_compiler_the_error_names_the_option(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand a long trace")

    monkeypatch.setattr(torch, "compile", lambda function, **options: refuse)
    with pytest.raises(ConfigError, match=r"solver.compile=true needs a C\+\+ compiler.*InvalidCxxCompiler") as caught:
        compile_fields(torch.nn.Linear(1, 1), "cpu")
    assert "trace" not in str(caught.value)


def test_auto_is_bf16_for_fixed_steps_where_the_device_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for native in (True, False):
        monkeypatch.setattr(build, "multiplies_bf16", lambda device, native=native: native)
        fixed, adaptive = SolverConfig(kind="midpoint"), SolverConfig(kind="torchdiffeq")
        assert isinstance(build.build_solver(fixed, cpu), LowPrecision) is native
        assert not isinstance(build.build_solver(adaptive, cpu), LowPrecision)
        assert build.with_precision(fixed, cpu).precision == ("bf16" if native else "float32")
        named = fixed.model_copy(update={"precision": "float32"})
        assert not isinstance(build.build_solver(named, cpu), LowPrecision)


def test_a_field_returns_what_it_was_given_so_that_only_its_products_are_rounded():
    generator = torch.Generator().manual_seed(0)
    field = ResidualMLP(3, 2, 3, sees_control=False, width=8, n_blocks=1, generator=generator)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert field(torch.zeros(4, 3), torch.zeros(4), torch.zeros(4, 2)).dtype == torch.float32
