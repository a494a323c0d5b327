"""From a request to cells: what a cell is made of, and which control cell it is made from."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import sparse

from gensim.autoencoder.pca import PCAAutoencoder
from gensim.data.request import request_of
from gensim.decoding import LogDecoder, MovedCells
from gensim.errors import DataError
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.penetrance import ALL_RESPOND, Penetrance
from gensim.perturbations.regression import Regression
from gensim.perturbations.vectors import VectorTable, one_hot_table
from gensim.simulate import CELLS_PER_POPULATION, CELLS_PER_SOLVE, Controls, Engine, Inputs, make_plan
from gensim.solvers.ode import Euler
from gensim.transport.base import Transport
from gensim.types import Condition, Dynamics

A, CONTROL = Condition(("A",)), Condition(())


def controls(n: int = 5) -> Controls:
    x = sparse.csr_matrix(np.arange(2.0 * n, dtype=np.float32).reshape(n, 2))
    return Controls(x, x, [f"c{i}" for i in range(n)], [CONTROL] * n, [""] * n, np.ones(n, np.float32))


class MoveByOne(Transport):
    """Moves every latent from z to z + 1."""

    def loss(self, pairs, draws):
        raise AssertionError("simulation needs no loss")

    def start(self, controls, condition, eps):
        return controls.z

    def dynamics(self, controls, condition):
        return Dynamics(lambda t, z: torch.ones_like(z))

    def arrival(self, t):
        return t


def engine(guidance: float = 1.0) -> Engine:
    """One latent along gene 0, in units of 2, around (3, 1); the latents do not hold gene 1, which A lowers by 0.5."""
    autoencoder = PCAAutoencoder(1, 2)
    autoencoder.mean.copy_(torch.tensor([3.0, 1.0]))
    autoencoder.components.copy_(torch.tensor([[1.0, 0.0]]))
    autoencoder.scale.fill_(2.0)
    effects = MeanEffects((A,), np.zeros((1, 1), np.float32))
    codebook = Codebook.fit([A], [], [], one_hot_table(["A"]), effects, ALL_RESPOND)
    outside = MeanEffects((A,), np.array([[0.0, -0.5]], np.float32))
    decoder = LogDecoder(autoencoder, outside, None, 1 / 3, guidance, has_counts=False, measures_all=False)
    return Engine(MoveByOne(), autoencoder, Euler(2), codebook, decoder, 0, torch.device("cpu"))


def log_decoder(guidance: float = 1.0) -> LogDecoder:
    decoder = engine(guidance).decoder
    assert isinstance(decoder, LogDecoder)
    return decoder


def two_controls() -> Controls:
    x = sparse.csr_matrix(np.array([[5, 4], [1, 0]], np.float32))
    return Controls(x, x, ["c0", "c1"], [CONTROL] * 2, [""] * 2, np.ones(2, np.float32))


def test_a_cell_by_hand():
    """The control (5, 4) has z = 1 and carries (0, 3) over; z_1 = 2 decodes to (7, 1); with -0.5 on gene 1: (7, 3.5).

    The control (1, 0) has z = -1 and carries (0, -1); z_1 = 0 decodes to (3, 1); with -0.5 on gene 1: (3, -0.5).
    Control conditions stay as they are.
    """
    plan = make_plan(request_of([A, CONTROL], [2, 2]), two_controls(), seed=0)
    cells = Inputs(engine(), plan, two_controls()).moved(np.arange(4), 8)
    expected = torch.tensor([[[7.0, 3.5], [3.0, -0.5]], [[5.0, 4.0], [1.0, 0.0]]])
    torch.testing.assert_close(log_decoder().moved(cells), expected[[0, 0, 1, 1], cells.source])


def test_guidance_holds_outside_the_latents_too():
    """Three times the effect of -0.5 on gene 1."""
    plan = make_plan(request_of([A], [1]), two_controls(), seed=0)
    cells = Inputs(engine(), plan, two_controls()).moved(np.arange(1), 4)
    plain, guided = (log_decoder(guidance).moved(cells) for guidance in (1.0, 3.0))
    torch.testing.assert_close(guided - plain, torch.tensor([[0.0, -1.0]]))


def towards(told: list[float], measured: Condition, guidance: float = 1.0) -> LogDecoder:
    """A decoder that was told an effect of one condition on genes, and so of all others."""
    return replace(log_decoder(guidance), on_genes=MeanEffects((measured,), np.array([told], np.float32)))


def moved_cells() -> MovedCells:
    plan = make_plan(request_of([A], [2]), two_controls(), seed=0)
    return Inputs(engine(), plan, two_controls()).moved(np.arange(2), 4)


@pytest.mark.parametrize(("guidance", "more"), [(1.0, [1 / 3, 0.5]), (3.0, [7 / 3, 1.5])])
def test_an_unmeasured_mean_is_brought_a_third_of_the_way_to_the_regression_on_genes(guidance, more):
    """Controls have the mean (3, 2) and are moved to (5, 1.5); with the effect (3, 1) they would be at (6, 3).

    With guidance 3 they are moved to (5, 0.5), and would be at (12, 5). All cells are above 0 afterwards but one of
    gene 1, which is cut with the mean kept.
    """
    decoder, cells = towards([3.0, 1.0], Condition(("B",)), guidance), moved_cells()
    found = decoder.population(A, lambda: cells)
    torch.testing.assert_close(found[0], torch.tensor(more))
    moved = decoder.moved(cells)
    kept = (moved + found[0] - found[1]).clamp_min(0)
    torch.testing.assert_close(kept.mean(dim=0), moved.mean(dim=0) + torch.tensor(more))
    # The control (5, 4) is on no grid of counts, so that nothing is drawn around what is expected.
    decoded = decoder.decode(cells, found.expand(2, 2, 2), lambda _: np.zeros((2, 2), np.float32))
    np.testing.assert_allclose(decoded.x[cells.source == 0], kept[cells.source == 0], atol=1e-5)


def test_a_mean_below_0_is_brought_up_from_0():
    """Gene 1, moved to a mean of -3.5, would be cut off to 0, and a third of the way to 0.75 is 0.25."""
    lowering = MeanEffects((A,), np.array([[0.0, -5.5]], np.float32))
    cells = moved_cells()
    for told, expected in ((-1.25, 0.25), (-9.0, 0.0)):
        decoder = replace(towards([4.0, told], Condition(("B",))), outside=lowering)
        found = decoder.population(A, lambda: cells)
        assert decoder.moved(cells)[:, 1].mean() == -3.5
        kept = (decoder.moved(cells) + found[0] - found[1]).clamp_min(0)
        torch.testing.assert_close(kept.mean(dim=0), torch.tensor([5 + 2 / 3, expected]))


def test_cells_that_escape_get_nothing_of_it():
    """Gene 0 of the control (5, 4): a third more where all respond, two where half do, nothing where it escapes."""
    decoder, cells = towards([3.0, 1.0], Condition(("B",))), moved_cells()
    found = decoder.population(A, lambda: cells).expand(2, 2, 2)
    first = cells.source == 0
    for response, expected in ((1.0, 7 + 1 / 3), (2.0, 7 + 2 / 3), (0.0, 7.0)):
        responding = replace(cells, response=np.where(first, response, 2 - response).astype(np.float32))
        decoded = decoder.decode(responding, found, lambda _: np.zeros((2, 2), np.float32))
        assert decoded.x[first, 0] == pytest.approx(expected, abs=1e-5)


def test_cells_are_cut_where_responders_alone_were_moved_below_0():
    """Gene 1: the control (1, 0) responds twice over, to -1, and (5, 4) stays at 4, with a mean of 1.5.

    A third of the way to 0 is 1, by 1 less in the responder, which is cut off at 0, so that the other comes down to 2.
    """
    decoder, cells = towards([3.0, -9.0], Condition(("B",))), moved_cells()
    half = replace(cells, response=np.where(cells.source == 0, 0, 2).astype(np.float32))
    more, cut = decoder.population(A, lambda: half)
    moved = decoder.moved(half)
    kept = (moved + more * torch.from_numpy(half.response)[:, None] - cut).clamp_min(0)
    assert float(cut[1]) > 0
    torch.testing.assert_close(kept[:, 1].sort().values, torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(kept.mean(dim=0), moved.mean(dim=0) + more)


def test_a_further_context_is_told_of_to_the_regression_on_genes_too():
    """Two contexts with opposite effects, of which the nearer one tells what a third does."""
    x, y, z = (Condition(("A",), (("line", c),)) for c in "xyz")
    vectors = np.array([[0.0], [1.0]], np.float32)
    table = VectorTable((x.control.key, y.control.key), vectors, "contexts")
    effects = MeanEffects((x, y), np.array([[1, 1], [-1, -1]], np.float32))
    nearest = effects.informed(Likeness(contexts=Predictor(Regression("nearest"), table)))
    decoder = replace(log_decoder(), on_genes=nearest)
    for place, expected in ((0.1, [1, 1]), (0.9, [-1, -1])):
        knowing = decoder.knowing_contexts({z.control.key: np.array([place], np.float32)})
        assert knowing.on_genes.shift(z).tolist() == expected


def test_what_was_measured_stays_what_it_was():
    cells = moved_cells()
    for decoder, condition in ((towards([3.0, 1.0], A), A), (towards([3.0, 1.0], Condition(("B",))), CONTROL)):
        found = decoder.population(condition, lambda: cells)
        assert not found[0].any()
        torch.testing.assert_close(found[1], log_decoder().population(condition, lambda: cells)[1])


def test_cells_are_cut_off_at_0_with_their_mean_kept_and_drawn_as_counts():
    """Gene 1 has the mean 1.5 over (3.5, -0.5); (3, 0) has it, and no cell is below 0.

    The control (5, 4) is on no grid of counts, as its values are no multiples of its smallest, so its cells are left
    as they are. Of the control (1, 0) a count is exp(1) - 1, and its cells are drawn as neighbours of what is expected.
    """
    plan = make_plan(request_of([A, CONTROL], [6, 2]), two_controls(), seed=0)
    (chunk,) = engine().chunks(plan, two_controls(), CELLS_PER_SOLVE, [0])
    expected = np.array([[[7, 3], [3, 0]], [[5, 4], [1, 0]]], np.float32)[chunk.condition, chunk.source]
    free = (chunk.source == 0) | (chunk.condition == 1)
    np.testing.assert_allclose(chunk.x[free], expected[free], atol=1e-5)
    counts = np.expm1(chunk.x[~free].astype(np.float64)) / np.expm1(1.0)
    np.testing.assert_allclose(counts, np.round(counts), rtol=1e-4)
    assert (np.abs(counts - np.expm1(expected[~free]) / np.expm1(1.0)) < 1).all()
    assert chunk.counts is None
    assert chunk.condition.tolist() == [0] * 6 + [1] * 2


def test_a_decoder_that_does_not_look_at_cells_of_a_population_solves_no_cell_twice():
    """Six cells in one block, and 256 more for the population of their condition, or none."""
    plan = make_plan(request_of([A], [6]), two_controls(), seed=0)
    solved = []

    class Counting(Euler):
        def solve(self, dynamics, z, noise):
            solved.append(len(z))
            return super().solve(dynamics, z, noise)

    class Blind(LogDecoder):
        def population(self, condition, first):
            assert condition == A
            return torch.zeros(2, 2)

    looking = replace(engine(), solver=Counting(2))
    blind = replace(looking, decoder=Blind(*(getattr(log_decoder(), f.name) for f in fields(LogDecoder))))
    for made, expected in ((looking, [CELLS_PER_SOLVE, CELLS_PER_POPULATION]), (blind, [CELLS_PER_SOLVE])):
        solved.clear()
        list(made.chunks(plan, two_controls(), CELLS_PER_SOLVE, [0]))
        assert solved == expected


def test_every_control_cell_is_used_once_before_any_is_used_again():
    source = make_plan(request_of([A], 15), controls(5), seed=0).draw_sources(np.arange(15))
    for first in (0, 5, 10):
        assert sorted(source[first : first + 5].tolist()) == [0, 1, 2, 3, 4]
    assert source[:5].tolist() != source[5:10].tolist(), "every pass has its own order"


def test_any_range_of_cells_gives_the_same_draws():
    plan = make_plan(request_of([A, CONTROL], [700, 300]), controls(), seed=0)
    source = plan.draw_sources(np.arange(1000))
    eps = {purpose: plan.draw_noise(np.arange(1000), 4, purpose) for purpose in ("start", 0, 1)}
    for part in (np.arange(650, 750), np.array([3, 999, 256])):
        assert plan.draw_sources(part).tolist() == source[part].tolist()
        for purpose, noise in eps.items():
            assert torch.equal(plan.draw_noise(part, 4, purpose), noise[torch.from_numpy(part)])
    assert not torch.equal(eps["start"], eps[0]), "every purpose has noise of its own"
    assert not torch.equal(eps[0], eps[1])
    assert plan.condition_of(np.array([0, 699, 700, 999])).tolist() == [0, 0, 1, 1]


def test_a_condition_asked_for_twice_goes_on_where_it_stopped():
    once = make_plan(request_of([A], 20), controls(7), seed=0)
    twice = make_plan(request_of([A, CONTROL, A], [12, 5, 8]), controls(7), seed=0)
    here = np.concatenate([np.arange(12), np.arange(17, 25)])
    assert twice.draw_sources(here).tolist() == once.draw_sources(np.arange(20)).tolist()
    assert torch.equal(twice.draw_noise(here, 2, "start"), once.draw_noise(np.arange(20), 2, "start"))


def test_noise_is_standard_normal_and_follows_the_seed():
    request = request_of([A], 5000)
    eps = make_plan(request, controls(), seed=0).draw_noise(np.arange(5000), 4, "start")
    # 20,000 draws know mean and standard deviation to about 0.007.
    assert float(eps.mean()) == pytest.approx(0, abs=0.03)
    assert float(eps.std()) == pytest.approx(1, abs=0.03)
    other = make_plan(request, controls(), seed=1).draw_noise(np.arange(5000), 4, "start")
    assert not torch.equal(eps, other)


def test_a_context_without_control_cells_is_refused():
    elsewhere = Condition(("A",), (("cell_type", "NK"),))
    with pytest.raises(DataError, match=r"no control cells to start from for 'control \| NK'"):
        make_plan(request_of([elsewhere], 3), controls(), seed=0)


class Shift(MoveByOne):
    """Moves every latent by what its cell gets of the mean effect."""

    def dynamics(self, controls, condition):
        return Dynamics(lambda t, z: condition.shift)


def test_a_share_of_the_cells_responds_and_the_others_stay_what_they_are():
    """Of A's mean effects, 1.5 on the latent and -0.5 on gene 1, a quarter of the cells get four times as much.

    That is 2 * 4 * 1.5 = 12 on gene 0, as a latent is in units of 2, and -2 on gene 1.
    """
    n, book = 4000, engine().codebook
    some = replace(
        book,
        effects=MeanEffects((A,), np.array([[1.5]], np.float32)),
        penetrance=Penetrance((A,), np.array([0.25], np.float32)),
    )
    made = replace(engine(), transport=Shift(), codebook=some)
    plan = make_plan(request_of([A, CONTROL], [n, 50]), two_controls(), seed=0)
    inputs = Inputs(made, plan, two_controls())
    cells = inputs.moved(np.arange(n + 50), n + 50)
    gained = (log_decoder().moved(cells) - cells.x_control).numpy()
    responds = cells.response[:n] > 0
    np.testing.assert_allclose(gained[:n][responds], np.tile([12, -2], (responds.sum(), 1)), atol=1e-4)
    assert (gained[:n][~responds] == 0).all()
    assert (gained[n:] == 0).all()
    assert responds.mean() == pytest.approx(0.25, abs=0.03)
    assert (cells.response[n:] == 1).all()
    later = inputs.moved(np.arange(1000, 1100), 128)
    np.testing.assert_array_equal(later.response, cells.response[1000:1100])
