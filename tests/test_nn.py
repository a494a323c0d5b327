"""The shared field: zero before training; everything it is given matters; cells are independent."""

import pytest
import torch

from gensim.nn.blocks import TimeFeatures, initialise, linear
from gensim.nn.residual_mlp import ResidualMLP


def field(seed: int = 0, trained: bool = False) -> ResidualMLP:
    generator = torch.Generator().manual_seed(seed)
    module = ResidualMLP(4, 3, 4, sees_control=False, width=16, n_blocks=2, generator=generator)
    if trained:
        initialise(module, torch.Generator().manual_seed(99))
    return module


def inputs(n: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 4, generator=generator),
        torch.rand(n, generator=generator),
        torch.randn(n, 3, generator=generator),
    )


def test_an_untrained_field_is_zero():
    assert torch.equal(field()(*inputs()), torch.zeros(6, 4))


@pytest.mark.parametrize("which", [0, 1, 2], ids=["cell", "time", "condition"])
def test_everything_given_matters(which):
    given = inputs()
    changed = list(given)
    changed[which] = changed[which] + 0.5
    difference = (field(trained=True)(*given) - field(trained=True)(*changed)).abs().amax(dim=1)
    assert (difference > 1e-4).all()


def test_a_cell_does_not_see_its_batch_mates():
    whole = field(trained=True)(*inputs())
    alone = field(trained=True)(*(part[2:3] for part in inputs()))
    # Other shapes may round differently in the last bits of float32.
    torch.testing.assert_close(alone, whole[2:3], rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_weight_once_the_output_has_moved():
    module = field(trained=True)
    module(*inputs()).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert float(parameter.grad.abs().max()) > 0, name


def test_weights_follow_from_the_generator_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second, other = field(0), field(0), field(1)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"
    assert torch.equal(first.input.weight, second.input.weight)
    assert not torch.equal(first.input.weight, other.input.weight)


def test_initial_weights_fill_the_stated_range():
    layer = linear(100, 1000)
    initialise(layer, torch.Generator().manual_seed(0))
    assert float(layer.weight.detach().abs().max()) == pytest.approx(0.1, rel=0.01)
    # Uniform on ±0.1 has variance 0.01/3; 100,000 draws know it to half a percent.
    assert float(layer.weight.detach().var()) == pytest.approx(0.01 / 3, rel=0.02)


def test_time_features_tell_times_apart_and_have_unit_length_per_frequency():
    features = TimeFeatures(32)(torch.linspace(0, 1, 101))
    assert features.shape == (101, 32)
    torch.testing.assert_close(features.square().sum(1), torch.full((101,), 16.0))
    gaps = torch.cdist(features, features) + 10 * torch.eye(101)
    assert float(gaps.min()) > 0.05
