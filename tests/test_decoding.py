"""From moved latents to counts: what is kept of a control cell, what an effect does, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.likelihoods import CountDistribution
from gensim.data.scale import to_log1p_cp10k
from gensim.decoding import CountDecoder, DecodedCells, MovedCells, implied_grid, refuse_beyond_integers
from gensim.errors import DataError
from gensim.perturbations.mean_effects import MeanEffects
from gensim.secants import raised_to
from gensim.seeding import torch_generator
from gensim.types import Condition

A, CONTROL = Condition(("A",)), Condition(())
N, GENES, LATENTS = 4000, 3, 2
SHARE, THETA = np.array([1e-4, 1e-3, 2e-2]), np.array([0.5, 2.0, 5.0])


def autoencoder() -> CountAutoencoder:
    """Shares of the genes as above at z = 0, and other ones elsewhere."""
    made = CountAutoencoder(GENES, LATENTS, 8, 1, zero_inflated=False, variational=False, generator=torch_generator(0))
    with torch.no_grad():
        for bias in (layer.bias for layer in made.decoder if isinstance(layer, torch.nn.Linear)):
            bias.zero_()
        made.log_share.copy_(torch.from_numpy(np.log(np.append(SHARE, 1 - SHARE.sum()))))
        made.log_theta.copy_(torch.from_numpy(np.log(THETA)))
    return made


def moved(condition: Condition = A, z_control: float = 0.0, z_1: float = 0.0) -> MovedCells:
    """Control cells that follow the decoder at z = 0, so that their quantiles are uniform there."""
    rng = np.random.default_rng(0)
    library_size = rng.integers(2_000, 20_000, N).astype(np.float32)
    mu = SHARE * library_size[:, None]
    counts = rng.poisson(rng.gamma(THETA, size=(N, GENES)) * mu / THETA).astype(np.float32)
    x = torch.from_numpy(to_log1p_cp10k(counts, "counts", library_size))
    zeros, row = np.zeros(N, np.int64), np.arange(N)
    start, end = (torch.full((N, LATENTS), z) for z in (z_control, z_1))
    return MovedCells([condition], zeros, row, counts, x, start, end, library_size, np.ones(N, np.float32))


def draw(purpose: str) -> np.ndarray:
    return np.random.default_rng(len(purpose)).random((N, GENES), dtype=np.float32)


def decoder(carried: bool, **effects: MeanEffects) -> CountDecoder:
    nothing = {"gene_effects": None, "on_genes": None, "theta_effects": None, "library_effects": None}
    effects.setdefault("share_effects", effects.get("gene_effects"))
    return CountDecoder(autoencoder(), **nothing | effects, gate=0.5, guidance=1.0, carried=carried, measures_all=False)


def counts_of(decoder: CountDecoder, cells: MovedCells) -> np.ndarray:
    counts = decoded(decoder, cells).counts
    assert counts is not None
    return counts


def decoded(decoder: CountDecoder, cells: MovedCells) -> DecodedCells:
    population = decoder.population(cells.conditions[0], lambda: cells)
    return decoder.decode(cells, population.expand(N, GENES), draw)


def effect(*logs: float) -> MeanEffects:
    return MeanEffects((A,), np.array([logs], np.float32))


def test_a_cell_that_nothing_moves_is_its_control_cell():
    cells = moved(z_control=0.7, z_1=0.7)
    np.testing.assert_array_equal(counts_of(decoder(True), cells), cells.counts)


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("condition", [CONTROL, Condition(("A",), dose=0.0)])
def test_control_and_dose_0_come_out_as_the_control_cells(carried, condition):
    cells = moved(condition, z_1=1.0)
    found = decoded(decoder(carried), cells)
    np.testing.assert_array_equal(found.counts, cells.counts)
    np.testing.assert_allclose(found.x, cells.x_control.numpy(), rtol=1e-5)


@pytest.mark.parametrize("carried", [True, False])
def test_counts_have_mean_and_variance_of_the_moved_distribution(carried):
    """Also where the quantiles are the control cells': they are uniform as theirs were."""
    cells, logs = moved(), np.log([4.0, 0.25, 1.5])
    counts = counts_of(decoder(carried, gene_effects=effect(*logs)), cells)
    mu = SHARE * np.exp(logs) * cells.library_size[:, None]
    np.testing.assert_allclose(counts.mean(0), mu.mean(0), rtol=0.08)
    # Over cells of different library sizes: the mean variance, and the variance of the means.
    expected = (mu + mu**2 / THETA).mean(0) + mu.var(0)
    np.testing.assert_allclose(counts.var(0), expected, rtol=0.2)
    share_of_zeros = ((THETA / (THETA + mu)) ** THETA).mean(0)
    np.testing.assert_allclose((counts == 0).mean(0), share_of_zeros, atol=0.03)


def test_carried_counts_keep_the_order_of_the_control_cells():
    """Of cells with one library size, who had more of a gene has no less of it."""
    cells = moved()
    cells = replace(cells, library_size=np.full(N, 8_000, np.float32))
    after = counts_of(decoder(True, gene_effects=effect(1.0, 1.0, 1.0)), cells)
    assert np.corrcoef(after[:, 2], cells.counts[:, 2])[0, 1] > 0.95
    fresh = counts_of(decoder(False, gene_effects=effect(1.0, 1.0, 1.0)), cells)
    assert abs(np.corrcoef(fresh[:, 2], cells.counts[:, 2])[0, 1]) < 0.1


def test_an_effect_on_theta_changes_the_spread_and_not_the_mean():
    cells = moved()
    plain = counts_of(decoder(False), cells)
    wide = counts_of(decoder(False, theta_effects=effect(-1.0, -1.0, -1.0)), cells)
    mu = SHARE * cells.library_size[:, None]
    np.testing.assert_allclose(wide[:, 1:].mean(0), plain[:, 1:].mean(0), rtol=0.1)
    expected = (mu + mu**2 / (THETA / np.e)).mean(0) + mu.var(0)
    np.testing.assert_allclose(wide.var(0)[1:], expected[1:], rtol=0.25)


def test_a_predicted_library_size_scales_all_counts():
    cells = moved()
    found = decoded(decoder(True, library_effects=effect(np.log(2.0))), cells)
    np.testing.assert_allclose(found.library_size, 2 * cells.library_size, rtol=1e-6)
    np.testing.assert_allclose(found.counts.mean(0), 2 * cells.counts.mean(0), rtol=0.1)


def test_guidance_holds_for_effects_on_genes():
    cells = moved()
    guided = replace(decoder(False, gene_effects=effect(0.5, 0.5, 0.5)), guidance=2.0)
    twice = decoder(False, gene_effects=effect(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(counts_of(guided, cells), counts_of(twice, cells))


def test_where_all_genes_are_measured_the_library_size_is_the_sum_of_the_counts():
    cells = moved()
    found = decoded(replace(decoder(True), measures_all=True), cells)
    np.testing.assert_array_equal(found.library_size, cells.counts.sum(1).clip(1))
    total = np.expm1(found.x.astype(np.float64)).sum(1)
    np.testing.assert_allclose(total[cells.counts.sum(1) > 0], 1e4, rtol=1e-5)


def test_a_count_so_far_out_that_no_quantile_is_known_is_scaled_with_the_mean():
    cells = moved()
    counts = cells.counts.copy()
    counts[0, 0] = 50_000
    cells = replace(cells, counts=counts)
    after = counts_of(decoder(True, gene_effects=effect(np.log(2.0), 0.0, 0.0)), cells)
    # Expected are 100,000; quantiles that float64 still tells apart come near, others are exact.
    assert 50_000 < after[0, 0] <= 110_000


def test_a_library_size_beyond_integers_is_refused():
    with pytest.raises(DataError, match=r"condition 'A': a simulated cell would have .* counts, and integers end"):
        counts_of(decoder(True, library_effects=effect(20.0)), moved())


def test_values_that_are_no_multiples_of_the_smallest_are_on_no_grid():
    counts = np.array([[0, 1, 3], [2, 4, 6], [0, 0, 0], [1, 1.5, 3]])
    x = np.log1p(counts * [[2.0], [1.0], [1.0], [1.0]]).astype(np.float32)
    library_size, on_grid = implied_grid(x)
    assert on_grid[:, 0].tolist() == [True, True, True, False]
    np.testing.assert_allclose(library_size[[0, 1]], [5_000, 5_000], rtol=1e-5)


def test_logarithms_that_lead_beyond_integers_are_refused():
    cells = moved()
    far = np.full((N, GENES), 40.0, np.float32)
    with pytest.raises(DataError, match=r"condition 'A': a simulated cell would have .* counts, and integers end"):
        refuse_beyond_integers(cells, cells.library_size, np.expm1(far.max(axis=1)) * cells.library_size / 1e4)
    refuse_beyond_integers(cells, cells.library_size, np.full(N, 1e9))


def test_who_does_not_respond_keeps_its_counts_and_who_does_gets_all_effects():
    """A quarter responds, so the mean effects on the logarithms are four times as large in it."""
    cells, logs = moved(), np.log([1.5, 0.8, 1.2])
    share = replace(cells, response=np.where(np.arange(N) % 4 == 0, 4, 0).astype(np.float32))
    some = counts_of(decoder(True, gene_effects=effect(*logs)), share)
    all_of_it = counts_of(decoder(True, gene_effects=effect(*4 * logs)), cells)
    responds = share.response > 0
    np.testing.assert_array_equal(some[responds], all_of_it[responds])
    np.testing.assert_array_equal(some[~responds], cells.counts[~responds])


IN_B = Condition(("A",), (("cell_type", "B"),))


def change_in_another_context(**of_cells: object) -> np.ndarray:
    """(G,) ratio of mean counts after and before of cells whose latents are moved, in a context in which nothing was
    measured. A was measured elsewhere, also beyond what latents say there: it doubles gene 0 and halves gene 1."""
    cells = replace(moved(IN_B, z_1=1.5), **of_cells)
    measured = {"gene_effects": effect(0.7, 0.3, -0.2), "share_effects": effect(*np.log([2.0, 0.5, 1.0]))}
    turned = decoder(True, **measured)
    with torch.no_grad():
        last = [layer for layer in turned.autoencoder.decoder if isinstance(layer, torch.nn.Linear)][-1]
        last.weight.normal_(0, 0.5, generator=torch_generator(1))
    change: np.ndarray = counts_of(turned, cells).mean(0) / cells.counts.mean(0)
    return change


def test_in_a_context_without_perturbed_cells_shares_are_those_expected_wherever_latents_lead():
    np.testing.assert_allclose(change_in_another_context(), [2.0, 0.5, 1.0], rtol=0.05)


def test_responders_make_up_the_shares_expected_of_all():
    """Half of the cells respond; the others stay, latents and all."""
    response = np.where(np.arange(N) % 2 == 0, 2, 0).astype(np.float32)
    z_1 = torch.from_numpy(1.5 * (response > 0).astype(np.float32))[:, None].expand(N, LATENTS)
    change = change_in_another_context(response=response, z_1=z_1)
    # A gene that is halved in all cells together is left to the responders as far as can be: a fiftieth of it.
    np.testing.assert_allclose(change[[0, 2]], [2.0, 1.0], rtol=0.05)
    assert change[1] == pytest.approx(0.51, abs=0.03)


def test_where_conditions_were_measured_nobody_looks_at_cells():
    def first():
        raise AssertionError("looked at cells")

    known = decoder(True, gene_effects=effect(1.0, 2.0, 3.0))
    for condition, expected in ((A, [1, 2, 3]), (Condition(("new",)), [1, 2, 3]), (CONTROL, [0, 0, 0])):
        np.testing.assert_allclose(known.population(condition, first), expected)
    assert not decoder(True).population(IN_B, first).any()


def test_what_is_known_from_another_context_is_borrowed():
    here, there = Condition(("B",), IN_B.context), Condition(("B",))
    effects = MeanEffects((A, here), np.zeros((2, GENES), np.float32))
    asked = (IN_B, Condition(("A", "B"), IN_B.context), A, here, there, Condition((), IN_B.context))
    assert [effects.are_borrowed(condition) for condition in asked] == [True, True, False, False, True, False]


def mean_log(counts: np.ndarray, cells: MovedCells) -> np.ndarray:
    return np.log1p(counts * (1e4 / cells.library_size[:, None])).mean(axis=0)


def told_elsewhere(*change: float) -> MeanEffects:
    """What a regression on genes expects of all perturbations but B."""
    return MeanEffects((Condition(("B",)),), np.array([change], np.float32))


@pytest.mark.parametrize("response", [1.0, 2.0])
def test_mean_logarithms_are_brought_half_the_way_to_what_a_regression_expects(response):
    """Where all cells respond, and where every second one does, twice over, and the others stay."""
    responds = np.where(np.arange(N) % 2 == 0, response, 2 - response).astype(np.float32)
    cells = replace(moved(z_1=0.5), response=responds)
    told = np.array([0.2, -0.1, 0.15])
    plain = decoder(True, gene_effects=effect(0.3, -0.2, 0.0))
    before, after = (
        mean_log(counts_of(replace(plain, on_genes=known), cells), cells) for known in (None, told_elsewhere(*told))
    )
    start = mean_log(cells.counts, cells)
    np.testing.assert_allclose(before, start + plain.mean_effect(cells).numpy(), atol=0.01)
    np.testing.assert_allclose(after, (before + start + told) / 2, atol=0.01)
    assert np.abs(after - before).max() > 0.05


def test_counts_of_what_was_measured_here_are_not_brought_anywhere():
    cells = moved(z_1=0.5)
    plain = decoder(True, gene_effects=effect(0.3, -0.2, 0.0))
    known = replace(plain, on_genes=effect(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(counts_of(known, cells), counts_of(plain, cells))
    shut = replace(plain, on_genes=told_elsewhere(1.0, 1.0, 1.0), gate=0.0)
    np.testing.assert_array_equal(counts_of(shut, cells), counts_of(plain, cells))


def test_a_regression_that_expects_less_than_nothing_brings_means_towards_0():
    cells = moved()
    known = decoder(True, gene_effects=effect(0.0, 0.0, 0.0), on_genes=told_elsewhere(-50.0, 0.0, 0.0))
    after = mean_log(counts_of(known, cells), cells)
    assert after[0] == pytest.approx(mean_log(cells.counts, cells)[0] / 2, abs=0.02)


def test_guidance_holds_for_what_a_regression_expects():
    cells = moved()
    known = decoder(True, gene_effects=effect(0.0, 0.0, 0.0), on_genes=told_elsewhere(0.2, -0.1, 0.0))
    once, twice = (
        mean_log(counts_of(replace(known, guidance=guidance), cells), cells) - mean_log(cells.counts, cells)
        for guidance in (1.0, 2.0)
    )
    np.testing.assert_allclose(once, [0.1, -0.05, 0.0], atol=0.01)
    np.testing.assert_allclose(twice, [0.2, -0.1, 0.0], atol=0.01)


def test_without_a_gate_means_are_what_they_are_with_one_that_is_nearly_shut():
    """Also of a gene that falls below what was seen of it in the control cells."""
    cells = moved(z_1=0.5)
    cells = replace(cells, x_control=torch.zeros_like(cells.x_control))
    plain = decoder(True, gene_effects=effect(-2.0, 0.0, 0.3), on_genes=told_elsewhere(0.0, 0.0, 0.0))
    shut, nearly = (replace(plain, gate=gate).population(A, lambda: cells) for gate in (0.0, 1e-6))
    torch.testing.assert_close(nearly, shut, atol=1e-3, rtol=0)


def test_responders_are_not_multiplied_beyond_reason():
    """A tenth of the cells responds tenfold: of what is wanted of the mean, each gets no more than exp(3) times."""
    responds = np.where(np.arange(N) % 10 == 0, 10, 0).astype(np.float32)
    cells = replace(moved(), response=responds)
    known = decoder(True, gene_effects=effect(0.0, 0.0, 0.0), on_genes=told_elsewhere(5.0, 0.0, 0.0))
    more = known.population(A, lambda: cells)
    assert float(more[0]) * 10 == pytest.approx(3.0)
    assert float(more[1:].abs().max()) < 1e-3


@pytest.mark.parametrize("size", [1_000.0, 10_000.0])
@pytest.mark.parametrize("theta", [0.1, 1.0, 100.0])
def test_means_are_raised_to_where_they_are_wanted(size, theta):
    """Genes of 0.01 to 100 counts, whose mean logarithms are wanted higher and lower, where they can get there."""
    mu, scale = torch.logspace(-2, 2, 9)[None], torch.tensor([[1e4 / size]])

    def mean(x: torch.Tensor) -> torch.Tensor:
        return CountDistribution(mu * x.exp(), torch.tensor(theta)).mean_log1p(scale)[0]

    start = torch.zeros(9)
    least, most = mean(start - 3), mean(start + 3)
    for change in (-0.5, -0.1, 0.1, 0.5):
        wanted = torch.minimum(torch.maximum(mean(start) + change, least), most)
        found = raised_to(mean, start, mean(start), wanted, 3.0)
        assert float(found.abs().max()) <= 3.0
        torch.testing.assert_close(mean(found), wanted, atol=0.01, rtol=0)
