"""What the transformers promise: attention by its formula, latents told apart by position only, populations as sets."""

import numpy as np
import pytest
import torch

from gensim.nn.blocks import Attention, initialise
from gensim.nn.latent_transformer import LatentTransformer
from gensim.nn.residual_mlp import ResidualMLP
from gensim.nn.set_transformer import SetTransformer
from gensim.types import ControlBatch

D, C, WIDTH = 5, 3, 16


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(cls, n_outputs: int = D, sees_control: bool = True):
    sizes = {"width": WIDTH, "n_blocks": 2, "generator": torch.Generator().manual_seed(0)}
    module = cls(D, C, n_outputs, sees_control=sees_control, **sizes)
    initialise(module, torch.Generator().manual_seed(99))
    return module


def test_attention_is_its_formula():
    attention = Attention(6, 3)
    initialise(attention, torch.Generator().manual_seed(0))
    x, y = 3 * normal(1, 2, 4, 6), 3 * normal(2, 2, 5, 6)
    weights = {name: value.detach().double().numpy() for name, value in attention.named_parameters()}

    expected = np.zeros((2, 4, 6))
    for i in range(2):
        q = x[i].double().numpy() @ weights["query.weight"].T + weights["query.bias"]
        k, v = np.split(y[i].double().numpy() @ weights["key_value.weight"].T, 2, axis=1)
        heads = []
        for h in range(3):
            columns = slice(2 * h, 2 * h + 2)
            scores = np.exp(q[:, columns] @ k[:, columns].T / np.sqrt(2))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, columns])
        expected[i] = np.concatenate(heads, axis=1) @ weights["output.weight"].T + weights["output.bias"]

    # float32 against float64 on values near 1.
    np.testing.assert_allclose(attention(x, y).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    chosen = attention(x[:1].expand(3, -1, -1), y, torch.tensor([1, 0, 1]))
    torch.testing.assert_close(chosen, attention(x[:1].expand(3, -1, -1), y[[1, 0, 1]]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", [LatentTransformer, SetTransformer])
def test_a_width_that_heads_cannot_share_is_refused(cls):
    sizes = {"width": 10, "n_blocks": 1, "n_heads": 4, "generator": torch.Generator()}
    with pytest.raises(ValueError, match="width is 10 and n_heads is 4"):
        cls(D, C, D, sees_control=False, **sizes)


def test_outputs_that_latents_cannot_share_are_refused():
    with pytest.raises(ValueError, match="n_outputs is 7 and n_latents is 5"):
        trained(LatentTransformer, n_outputs=7)


def test_latents_are_told_apart_by_their_position_alone():
    """Positions and inputs in another order: outputs in that order, in both of two vectors."""
    one, other, order = trained(LatentTransformer, 2 * D), trained(LatentTransformer, 2 * D), [3, 0, 4, 1, 2]
    with torch.no_grad():
        other.position.copy_(one.position[order])
    z_t, control, t, features = normal(1, 6, D), normal(2, 6, D), torch.linspace(0, 1, 6), normal(3, 6, C)
    first = one(z_t, t, one.context(features, ControlBatch.alone(control)))
    same = other(z_t[:, order], t, other.context(features, ControlBatch.alone(control[:, order])))
    unlike = one(z_t[:, order], t, one.context(features, ControlBatch.alone(control[:, order])))
    expected = torch.cat([first[:, :D][:, order], first[:, D:][:, order]], dim=1)
    # Sums over tokens in another order round differently.
    torch.testing.assert_close(same, expected, rtol=1e-5, atol=1e-5)
    assert float((unlike - expected).detach().abs().amin()) > 0
    assert float((unlike - expected).detach().abs().mean()) > 0.01


def test_every_output_looks_at_every_latent():
    module = trained(LatentTransformer, sees_control=False)
    z_t, features = normal(1, D), normal(2, 1, C)
    jacobian = torch.autograd.functional.jacobian(lambda z: module(z[None], torch.ones(1), features)[0], z_t)
    assert float(jacobian.abs().min()) > 1e-5


def test_two_output_vectors_stand_one_after_the_other():
    module = trained(LatentTransformer, n_outputs=2 * D)
    with torch.no_grad():
        module.output.weight.zero_()
        module.output.bias.copy_(torch.tensor([1.0, 2.0]))
    context = module.context(normal(2, 3, C), ControlBatch.alone(normal(3, 3, D)))
    out = module(normal(1, 3, D), torch.ones(3), context)
    assert out.tolist() == [[1.0] * D + [2.0] * D] * 3


def controls(population: torch.Tensor, population_of: torch.Tensor) -> ControlBatch:
    return ControlBatch(normal(7, len(population_of), D), population, population_of)


def test_a_population_is_a_set_and_its_place_among_others_is_no_matter():
    module, features = trained(SetTransformer), normal(1, 4, C)
    population, population_of = normal(2, 2, 9, D), torch.tensor([0, 1, 1, 0])
    context = module.context(features, controls(population, population_of))

    def alike(given: ControlBatch) -> None:
        # Sums in another order, and other shapes, round differently.
        torch.testing.assert_close(module.context(features, given), context, rtol=1e-5, atol=1e-5)

    alike(controls(population[:, torch.randperm(9, generator=torch.Generator().manual_seed(3))], population_of))
    alike(controls(population.flip(0), 1 - population_of))
    alike(controls(torch.cat([normal(4, 3, 9, D), population]), population_of + 3))
    # A population twice over is the same distribution, and attention is a mean.
    alike(controls(population.repeat(1, 2, 1), population_of))

    elsewhere = module.context(features, controls(population, 1 - population_of))
    assert ((elsewhere - context).abs().amax(dim=1) > 1e-3).all()


def test_a_population_tells_more_than_its_mean():
    module, features, population = trained(SetTransformer), normal(1, 2, C), normal(2, 1, 9, D)
    population = population - population.mean(dim=1, keepdim=True)
    wide = torch.cat([population, 3 * population])
    found = module.context(
        features[:1].expand(2, -1), ControlBatch(normal(3, 1, D).expand(2, -1), wide, torch.arange(2))
    )
    assert float((found[0] - found[1]).detach().abs().max()) > 1e-3


def test_populations_without_cells_are_refused():
    module = trained(SetTransformer)
    assert module.population_cells == 64
    assert ResidualMLP.population_cells == LatentTransformer.population_cells == 0
    with pytest.raises(ValueError, match=r"shape \(1, 0, 5\), with no cells to look at; draw 64 control cells"):
        module.context(normal(1, 2, C), ControlBatch.alone(normal(2, 2, D)))


@pytest.mark.parametrize(
    ("cls", "asked", "left_over"),
    [
        # Without a look at the population the best is to answer 0, which leaves the variance of the answer: all of it.
        (ResidualMLP, "mean", (0.85, 1.5)),
        (SetTransformer, "mean", (0.0, 0.1)),
        (SetTransformer, "spread", (0.0, 0.1)),
    ],
)
def test_what_only_the_population_tells_is_learned_by_the_field_that_sees_it(cls, asked, left_over):
    """The answer is the mean, or the log spread, of a population, of which nothing else given says anything."""
    s, b, m = 32, 64, 12
    sizes = {"width": 32, "n_blocks": 1, "generator": torch.Generator().manual_seed(0)}
    module = cls(2, 1, 2, sees_control=True, **sizes)
    generator, population_of = torch.Generator().manual_seed(1), torch.arange(b) % s

    def error() -> torch.Tensor:
        """Mean square error on populations never seen before, as a share of the variance of the answer."""
        answer = torch.randn(s, 1, 1, generator=generator)
        cells = torch.randn(s, m, 2, generator=generator)
        cells = (cells - cells.mean(dim=1, keepdim=True)) / cells.std(dim=1, keepdim=True)
        population = answer + cells if asked == "mean" else torch.exp(answer / 2) * cells
        z_t, control = torch.randn(2, b, 2, generator=generator)
        context = module.context(torch.zeros(b, 1), ControlBatch(control, population, population_of))
        answered = module(z_t, torch.rand(b, generator=generator), context)
        return (answered - answer[population_of, 0]).square().mean()

    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    for _ in range(250):
        optimiser.zero_grad()
        error().backward()
        optimiser.step()
    with torch.no_grad():
        left = float(torch.stack([error() for _ in range(20)]).mean())
    # 640 answers know their variance, 1, to 6 %: √(2 / 640).
    assert left_over[0] <= left < left_over[1]
