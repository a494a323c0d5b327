"""The fields: zero before training; all that they are given matters, and nothing else; cells are independent."""

from dataclasses import dataclass, replace

import pytest
import torch

from gensim.nn.blocks import TimeFeatures, initialise, linear
from gensim.nn.field import ConditionalField
from gensim.nn.latent_transformer import LatentTransformer
from gensim.nn.residual_mlp import ResidualMLP
from gensim.nn.set_transformer import SetTransformer
from gensim.types import ControlBatch

FIELDS = [ResidualMLP, LatentTransformer, SetTransformer]


def field(cls, seed: int = 0, trained: bool = False, sees_control: bool = True, n_outputs: int = 4) -> ConditionalField:
    generator = torch.Generator().manual_seed(seed)
    module = cls(4, 3, n_outputs, sees_control=sees_control, width=16, n_blocks=2, generator=generator)
    if trained:
        initialise(module, torch.Generator().manual_seed(99))
    return module


@dataclass(frozen=True)
class Given:
    cell: torch.Tensor
    time: torch.Tensor
    condition: torch.Tensor
    control: torch.Tensor
    population: torch.Tensor
    population_of: torch.Tensor

    def changed(self, name: str) -> "Given":
        """The same, with one part moved: not by a constant, which layer norms may take away."""
        part = getattr(self, name)
        return replace(self, **{name: part + 0.3 * torch.linspace(1, 2, part[0].numel()).reshape(part[0].shape)})

    def of(self, rows: slice) -> "Given":
        parts = {name: getattr(self, name)[rows] for name in ("cell", "time", "condition", "control", "population_of")}
        return replace(self, **parts)


def inputs(n: int = 6) -> Given:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    cell, time, condition = normal(n, 4), torch.rand(n, generator=generator), normal(n, 3)
    return Given(cell, time, condition, normal(n, 4), normal(3, 5, 4), torch.arange(n) % 3)


def output(module: ConditionalField, given: Given) -> torch.Tensor:
    controls = ControlBatch(given.control, given.population, given.population_of)
    return module(given.cell, given.time, module.context(given.condition, controls))


@pytest.mark.parametrize("n_outputs", [4, 8], ids=["one_vector", "two_vectors"])
@pytest.mark.parametrize("cls", FIELDS)
def test_an_untrained_field_is_zero(cls, n_outputs):
    assert torch.equal(output(field(cls, n_outputs=n_outputs), inputs()), torch.zeros(6, n_outputs))


@pytest.mark.parametrize(
    ("cls", "part"),
    [(cls, part) for cls in FIELDS for part in ("cell", "time", "condition", "control")]
    + [(SetTransformer, "population")],
)
def test_everything_given_matters(cls, part):
    module = field(cls, trained=True)
    difference = (output(module, inputs()) - output(module, inputs().changed(part))).abs().amax(dim=1)
    # 100 times the rounding of outputs near 1.
    assert (difference > 1e-5).all()


@pytest.mark.parametrize(
    ("cls", "part"),
    [(cls, "control") for cls in FIELDS] + [(ResidualMLP, "population"), (LatentTransformer, "population")],
)
def test_what_a_field_is_not_shown_does_not_matter(cls, part):
    module = field(cls, trained=True, sees_control=False)
    assert torch.equal(output(module, inputs()), output(module, inputs().changed(part)))


@pytest.mark.parametrize("cls", FIELDS)
def test_a_cell_does_not_see_its_batch_mates(cls):
    module = field(cls, trained=True)
    whole, alone = output(module, inputs()), output(module, inputs().of(slice(2, 3)))
    # Other shapes may round differently in the last bits of float32.
    torch.testing.assert_close(alone, whole[2:3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", FIELDS)
def test_gradients_reach_every_weight_once_the_output_has_moved(cls):
    module = field(cls, trained=True)
    output(module, inputs()).square().sum().backward()
    for name, parameter in module.named_parameters():
        # What cancels leaves rounding errors, 1e-7 of the terms that cancel, and those are below 1.
        assert float(parameter.grad.abs().max()) > 1e-5, name


@pytest.mark.parametrize("cls", FIELDS)
def test_weights_follow_from_the_generator_alone(cls):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second, other = (dict(field(cls, seed).named_parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name
        starts_at_zero = ".modulation." in name or name.removeprefix("trunk.").startswith("output.")
        assert torch.equal(weights, other[name]) == starts_at_zero, name


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
