"""Deep sets, and attention over tables and members: no order, nothing from what is missing, and something that a sum of
linear maps cannot learn."""

import pytest
import torch

from gensim.nn.fusion import DeepSets, VectorFusion

WIDTHS, N_CONTEXT, WIDTH = (3, 2), 4, 8


@pytest.fixture
def fusion():
    return VectorFusion(WIDTHS, N_CONTEXT, WIDTH, torch.Generator().manual_seed(0))


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, sum(WIDTHS), generator=generator), torch.randn(6, N_CONTEXT, generator=generator)


def test_members_have_no_order(fusion, drawn):
    vectors, context = drawn
    torch.testing.assert_close(fusion(vectors[:, [2, 0, 1]], context), fusion(vectors, context))


def test_padding_changes_nothing(fusion, drawn):
    vectors, context = drawn
    longer = torch.cat([vectors, torch.zeros(6, 2, sum(WIDTHS))], dim=1)
    torch.testing.assert_close(fusion(longer, context), fusion(vectors, context))


def test_what_one_table_lacks_is_not_there(fusion, drawn):
    """Without the second table's columns the result is that of the first table's tokens alone, whatever its weights."""
    vectors, context = drawn
    vectors = vectors.clone()
    vectors[..., 3:] = 0
    before = fusion(vectors, context)
    with torch.no_grad():
        fusion.projects[1].weight.normal_()
        fusion.names[1] += 10
    torch.testing.assert_close(fusion(vectors, context), before)
    with torch.no_grad():
        fusion.names[0] += torch.arange(WIDTH)
    assert not torch.allclose(fusion(vectors, context), before)


def test_nothing_known_at_all_is_finite_and_depends_on_the_context(fusion):
    nothing = torch.zeros(2, 1, sum(WIDTHS))
    found = fusion(nothing, torch.tensor([[1.0] * N_CONTEXT, [-1.0] * N_CONTEXT]))
    assert torch.isfinite(found).all()
    assert not torch.allclose(found[0], found[1])


def test_it_learns_an_interaction_that_a_sum_cannot():
    """The target of a pair is the product of two features of different members: any sum over members has an error of
    the variance of the product, 1."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 2, (512, 2, 1), generator=generator) * 2.0 - 1
    fusion = VectorFusion((1,), 0, WIDTH, generator)
    assert error_of(fusion, lambda: fusion(x, torch.empty(512, 0)), x.prod(dim=1)) < 0.1


def test_deep_sets_learn_a_sum_of_what_is_not_linear():
    """The target is the sum of squares of the members: the best linear map of their sum, a constant, has an error of
    its variance, 4."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(512, 2, 1, generator=generator)
    target = x.square().sum(dim=1)
    fusion = DeepSets(1, WIDTH, generator)
    assert error_of(fusion, lambda: fusion(x), target) < 0.05 * float(target.var())


def error_of(fusion, fused, target) -> float:
    """Mean squared error of a linear map of what is fused, after training."""
    torch.manual_seed(0)
    head = torch.nn.Linear(WIDTH, 1)
    optimiser = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    for _ in range(300):
        loss = (head(fused()) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def test_deep_sets_have_no_order_and_padding_adds_nothing(drawn):
    sets, (vectors, _) = DeepSets(sum(WIDTHS), WIDTH, torch.Generator().manual_seed(0)), drawn
    torch.testing.assert_close(sets(vectors[:, [2, 0, 1]]), sets(vectors))
    torch.testing.assert_close(sets(torch.cat([vectors, torch.zeros(6, 2, sum(WIDTHS))], dim=1)), sets(vectors))
    torch.testing.assert_close(sets(vectors), sum(sets(vectors[:, [i]]) for i in range(3)))
    assert not sets(torch.zeros(1, 3, sum(WIDTHS))).any()
