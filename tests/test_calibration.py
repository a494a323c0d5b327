"""Effects on genes that the trained model misses: planted ones are found, what the model says already is not."""

import numpy as np
import pytest
import torch
from scipy import sparse
from stand_ins import NoFeatures

from gensim.autoencoder.count import CountAutoencoder
from gensim.autoencoder.shares import SimulatedShares, log_decoded_share
from gensim.perturbations.codebook import Codebook
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.observed_shares import observe_shares
from gensim.perturbations.penetrance import ALL_RESPOND, Penetrance
from gensim.perturbations.shrinkage import shrink_over_contexts
from gensim.perturbations.vectors import one_hot_table
from gensim.seeding import torch_generator
from gensim.solvers.ode import Euler
from gensim.training.calibration import FEWEST_CELLS, _enough, calibrate
from gensim.training.run_folder import CellIndex
from gensim.training.validation import CELLS_PER_BATCH, Validation
from gensim.transport.base import Transport
from gensim.types import Condition, Dynamics

GENES, LATENTS, N = 40, 2, 1500
A, B, CONTROL = Condition(("A",)), Condition(("B",)), Condition(())
SHARE = np.geomspace(1e-4, 2e-2, GENES)
SHIFT = np.array([0.8, -0.5], np.float32)


class Move(Transport):
    """Moves every latent by SHIFT."""

    def __init__(self):
        super().__init__()
        self.nothing = NoFeatures()

    def loss(self, pairs, draws):
        raise AssertionError("calibration trains nothing")

    def start(self, controls, condition, eps):
        return controls.z

    def dynamics(self, controls, condition):
        return Dynamics(lambda t, z: torch.from_numpy(SHIFT).expand_as(z))

    def arrival(self, t):
        return t


class Stay(Move):
    """Moves nothing."""

    def dynamics(self, controls, condition):
        return Dynamics(lambda t, z: torch.zeros_like(z))


def autoencoder() -> CountAutoencoder:
    made = CountAutoencoder(GENES, LATENTS, 8, 1, zero_inflated=False, variational=False, generator=torch_generator(0))
    with torch.no_grad():
        made.log_share.copy_(torch.from_numpy(np.log(np.append(SHARE, 1 - SHARE.sum()))))
    return made


@pytest.fixture(scope="module")
def calibrated() -> MeanEffects:
    """A is moved as the transport says and has gene 30 doubled and gene 35 at a third; B is moved and nothing else.

    Controls have all genes 20 % above what the decoder says, and so have A and B: a fault of the decoder, not an
    effect.
    """
    rng = np.random.default_rng(0)
    z = rng.normal(0, 0.5, (3 * N, LATENTS)).astype(np.float32)
    condition_of = np.repeat([0, 1, 2], N)
    library_size = rng.integers(5_000, 20_000, 3 * N).astype(np.float32)
    true_z = z + SHIFT * (condition_of > 0)[:, None]
    with torch.no_grad():
        mu = autoencoder().distribution(torch.from_numpy(true_z), torch.from_numpy(library_size)[:, None]).mean.numpy()
    mu = 1.2 * mu
    mu[condition_of == 1, 30] *= 2
    mu[condition_of == 1, 35] /= 3
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(2.0, size=mu.shape) * mu / 2.0).astype(np.float32))
    conditions = (CONTROL, A, B)
    rows = np.arange(3 * N)
    observed = observe_shares(counts, library_size, condition_of, conditions, rows)
    cells = CellIndex(
        np.zeros(3 * N, np.int64), condition_of, np.zeros(3 * N, np.int64), library_size, np.ones(3 * N), conditions, ()
    )
    effects = MeanEffects((A, B), np.zeros((2, LATENTS), np.float32))
    codebook = Codebook.fit([A, B], [], [], one_hot_table(["A", "B"]), effects, ALL_RESPOND)
    simulation = Validation(
        [], torch.from_numpy(z), codebook.encode(conditions), codebook.batch_codes([""] * 3 * N), Euler(1), seed=0
    )
    return calibrate(
        Move(), autoencoder(), simulation, cells, cells.source_of(codebook.effects.times), rows, observed, 0.0
    )


def test_planted_effects_are_found(calibrated):
    found = calibrated.shift(A)
    # 1,500 cells know the logarithm of a gene's mean to about 0.05.
    assert found[30] == pytest.approx(np.log(2), abs=0.15)
    assert found[35] == pytest.approx(-np.log(3), abs=0.15)


def test_what_the_transport_or_the_decoder_of_controls_says_is_not_added_again(calibrated):
    others = np.delete(calibrated.shift(A), [30, 35])
    assert np.abs(others).mean() < 0.02
    assert np.abs(calibrated.shift(B)).max() < 0.1
    assert np.abs(calibrated.shift(B)).mean() < 0.02
    assert not calibrated.shift(CONTROL).any()


def test_decoded_shares_weigh_cells_by_their_counts():
    z = np.zeros((2, LATENTS), np.float32)
    z[1] = 1
    sizes = np.array([1_000, 3_000], np.float32)
    with torch.no_grad():
        rho = autoencoder().distribution(torch.from_numpy(z), torch.ones(2, 1)).mean.double().numpy()
    expected = np.log((rho[0] + 3 * rho[1]) / 4)
    np.testing.assert_allclose(log_decoded_share(autoencoder(), z, sizes), expected, rtol=1e-5)


@pytest.mark.parametrize("gene_by_gene", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.25, 0.8])
def test_responders_alone_get_what_makes_the_whole_population_right(share, gene_by_gene):
    """Gene 30 is tripled in a share of A's cells, gene 35 is nearly gone in them; nothing else moves."""
    rng = np.random.default_rng(1)
    z = rng.normal(0, 0.5, (2 * N, LATENTS)).astype(np.float32)
    condition_of = np.repeat([0, 1], N)
    sizes = np.full(2 * N, 10_000, np.float32)
    with torch.no_grad():
        mu = autoencoder().distribution(torch.from_numpy(z), torch.from_numpy(sizes)[:, None]).mean.double().numpy()
    responds = N + np.arange(round(share * N))
    planted = np.zeros(GENES)
    planted[[30, 35]] = np.log([3.0, 0.1])
    mu[responds] *= np.exp(planted)
    # Exact means in every cell: what is found is then no matter of chance.
    counts, conditions, rows = sparse.csr_matrix(mu.astype(np.float32)), (CONTROL, A), np.arange(2 * N)
    observed = observe_shares(counts, sizes, condition_of, conditions, rows)
    cells = CellIndex(0 * rows, condition_of, 0 * rows, sizes, np.ones(2 * N), conditions, ())
    nothing = MeanEffects((A,), np.zeros((1, LATENTS), np.float32))
    penetrance = Penetrance((A,), np.array([share], np.float32))
    codebook = Codebook.fit([A], [], [], one_hot_table(["A"]), nothing, penetrance)
    codes = codebook.batch_codes([""] * 2 * N)
    simulation = Validation([], torch.from_numpy(z), codebook.encode(conditions), codes, Euler(1), seed=0)
    source_of = cells.source_of(codebook.effects.times)
    effects = calibrate(Stay(), autoencoder(), simulation, cells, source_of, rows, observed, gene_by_gene)
    # Effects are means over all cells, shrunk a little.
    np.testing.assert_allclose(effects.shift(A)[[30, 35]] / share, planted[[30, 35]], rtol=0.15)
    assert np.abs(np.delete(effects.shift(A), [30, 35])).max() < 0.03


def test_what_responders_cannot_lose_is_not_taken_from_them():
    """Others alone have more of the gene than all were seen to have; a fiftieth is left to the responders, a half."""
    simulated = SimulatedShares(np.array([0.5]), of_others=np.array([0.5]), response=2.0)
    np.testing.assert_allclose(simulated.over_all_cells(np.log([0.3])), np.log(0.02) / 2)


@pytest.mark.parametrize("n_controls", [1, 2, 3])
def test_one_control_cell_is_enough_for_some_to_respond(n_controls):
    """A share that is known from elsewhere, in a context that has hardly any control cells."""
    n = n_controls + 30
    rng, rows, sizes = np.random.default_rng(0), np.arange(n), np.full(n, 10_000, np.float32)
    counts = sparse.csr_matrix(rng.poisson(SHARE * 10_000, (n, GENES)).astype(np.float32))
    condition_of, conditions = np.repeat([0, 1], [n_controls, 30]), (CONTROL, A)
    observed = observe_shares(counts, sizes, condition_of, conditions, rows)
    cells = CellIndex(0 * rows, condition_of, 0 * rows, sizes, np.ones(n, np.float32), conditions, ())
    nothing = MeanEffects((A,), np.zeros((1, LATENTS), np.float32))
    codebook = Codebook.fit([A], [], [], one_hot_table(["A"]), nothing, Penetrance((A,), np.array([0.2], np.float32)))
    codes = codebook.batch_codes([""] * n)
    z = torch.from_numpy(rng.normal(size=(n, LATENTS)).astype(np.float32))
    simulation = Validation([], z, codebook.encode(conditions), codes, Euler(1), seed=0)
    effects = calibrate(
        Move(), autoencoder(), simulation, cells, cells.source_of(codebook.effects.times), rows, observed, 0.0
    )
    assert np.isfinite(effects.delta).all()


def test_few_control_cells_stand_for_as_many_as_shares_need():
    """One cell alone cannot respond to a quarter, and all others are taken once."""
    assert _enough(np.array([7])).tolist() == [7] * FEWEST_CELLS
    assert np.bincount(_enough(np.arange(3))).tolist() == [22, 21, 21]
    many = np.arange(FEWEST_CELLS + 1)
    assert _enough(many).tolist() == many.tolist()
    assert len(_enough(np.arange(0))) == 0


def test_a_later_time_is_reached_from_the_cells_of_the_time_before():
    """Two legs of SHIFT each; gene 30 is tripled at the second time. From controls half of the way would be missing."""
    rng = np.random.default_rng(2)
    conditions = (Condition(("A",), time=2.0), CONTROL, Condition(("A",), time=1.0))
    condition_of, rows = np.repeat([0, 1, 2], N), np.arange(3 * N)
    z = rng.normal(0, 0.5, (3 * N, LATENTS)).astype(np.float32) + SHIFT * np.array([2, 0, 1])[condition_of][:, None]
    z, sizes = z.astype(np.float32), np.full(3 * N, 10_000, np.float32)
    with torch.no_grad():
        mu = autoencoder().distribution(torch.from_numpy(z), torch.from_numpy(sizes)[:, None]).mean.double().numpy()
    mu[condition_of == 0, 30] *= 3
    observed = observe_shares(sparse.csr_matrix(mu.astype(np.float32)), sizes, condition_of, conditions, rows)
    cells = CellIndex(0 * rows, condition_of, 0 * rows, sizes, np.ones(3 * N), conditions, ())
    late, early = conditions[0], conditions[2]
    nothing = MeanEffects((late, early), np.zeros((2, LATENTS), np.float32))
    codebook = Codebook.fit([late, early], [], [], one_hot_table(["A"]), nothing, ALL_RESPOND)
    times = codebook.effects.times
    coded = codebook.encode(conditions, times.sources(conditions))
    simulation = Validation([], torch.from_numpy(z), coded, codebook.batch_codes([""] * 3 * N), Euler(1), seed=0)
    effects = calibrate(Move(), autoencoder(), simulation, cells, cells.source_of(times), rows, observed, 0.0)
    np.testing.assert_allclose(effects.shift(late)[30], np.log(3), rtol=0.1)
    assert np.abs(np.delete(effects.shift(late), 30)).max() < 0.05
    assert np.abs(effects.shift(early)).max() < 0.05


def of_screen(
    conditions,
    condition_of,
    counts,
    sizes,
    z,
    transport,
    penetrance=ALL_RESPOND,
    kept: list[int] | None = None,
    share: float = 0.0,
) -> MeanEffects:
    """What is found missing in a screen of all these cells, or of those of the conditions `kept` alone."""
    kept = list(range(len(conditions))) if kept is None else kept
    chosen = np.flatnonzero(np.isin(condition_of, kept))
    of_kept = tuple(conditions[k] for k in kept)
    code, there = np.searchsorted(kept, condition_of[chosen]), np.arange(len(chosen))
    observed = observe_shares(counts[chosen], sizes[chosen], code, of_kept, there)
    cells = CellIndex(0 * there, code, 0 * there, sizes[chosen], np.ones(len(chosen), np.float32), of_kept, ())
    perturbed = tuple(c for c in of_kept if not c.is_control)
    nothing = MeanEffects(perturbed, np.zeros((len(perturbed), LATENTS), np.float32))
    names = sorted({name for c in perturbed for name in c.perturbations})
    codebook = Codebook.fit(perturbed, ["cell_type"], [], one_hot_table(names), nothing, penetrance)
    codes = codebook.batch_codes([""] * len(chosen))
    simulation = Validation([], torch.from_numpy(z[chosen]), codebook.encode(of_kept), codes, Euler(1), seed=0)
    source_of = cells.source_of(codebook.effects.times)
    return calibrate(transport, autoencoder(), simulation, cells, source_of, there, observed, share)


def expected_counts(z, sizes):
    with torch.no_grad():
        distribution = autoencoder().distribution(torch.from_numpy(z), torch.from_numpy(sizes)[:, None])
    return distribution.mean.double().numpy()


def test_contexts_tell_each_other_of_effects_that_few_cells_show():
    """Four genes have 40 % more by A in both cell types, 60 cells each; B does nothing, nor does A at another dose."""
    n, n_controls = 60, 600
    t, b = (("cell_type", "T"),), (("cell_type", "B"),)
    conditions = (
        Condition((), t), Condition(("A",), t, 1.0), Condition(("B",), t), Condition(("A",), t, 10.0),
        Condition(("A",), b, 1.0), Condition((), b),
    )  # fmt: skip
    a_in_t, *others, a_in_b = conditions[1:5]
    condition_of = np.repeat(np.arange(6), [n_controls, n, n, n, n, n_controls])
    sizes = np.full(len(condition_of), 10_000, np.float32)
    z = np.zeros((len(condition_of), LATENTS), np.float32)
    mu = expected_counts(z, sizes)
    planted = np.log(1.4) * (np.arange(GENES) >= GENES - 4)
    mu[np.isin(condition_of, [1, 4])] *= np.exp(planted)
    errors = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        counts = sparse.csr_matrix(rng.poisson(rng.gamma(2.0, size=mu.shape) * mu / 2.0).astype(np.float32))
        screen = conditions, condition_of, counts, sizes, z, Stay()
        together = of_screen(*screen)
        in_t, in_b = (of_screen(*screen, kept=kept) for kept in ([0, 1, 2, 3], [4, 5]))
        assert together.conditions == (a_in_t, *others, a_in_b)
        pairs = [(together, a_in_t), (together, a_in_b), (in_t, a_in_t), (in_b, a_in_b)]
        errors.append([np.square(effects.shift(condition) - planted).mean() for effects, condition in pairs])
        # Another perturbation, or dose, is shrunk by itself, as if there were no other context.
        for other in others:
            np.testing.assert_allclose(together.shift(other), in_t.shift(other), atol=1e-6)
    of_t, of_b, of_t_alone, of_b_alone = np.mean(errors, axis=0)
    assert of_t + of_b < 0.8 * (of_t_alone + of_b_alone)


def test_contexts_keep_their_own_effects_controls_and_responders():
    """Three contexts at two doses, with more source cells than are simulated at once."""
    contexts, n, n_controls = [(("cell_type", name),) for name in ("T", "B", "NK")], 200, 1100
    conditions, planted, centre, share = [], [], [], []
    for at, context in enumerate(contexts):
        conditions += [Condition((), context), Condition(("A",), context, 1.0), Condition(("A",), context, 10.0)]
        gene = np.arange(GENES)
        planted += [0.0 * gene, (0.4 + 0.2 * at) * (gene == 30 + at), -(0.4 + 0.2 * at) * (gene == 36 - at)]
        centre += [[0.8 * at, -0.5 * at]] * 3
        share += [1.0, 0.5 if context == contexts[1] else 1.0, 1.0]
    condition_of = np.repeat(np.arange(9), [n_controls, n, n] * 3)
    sizes = np.full(len(condition_of), 10_000, np.float32)
    z = np.array(centre, np.float32)[condition_of]
    mu = expected_counts(z, sizes)
    responds = np.arange(len(condition_of)) % 100 < 100 * np.array(share)[condition_of]
    mu *= np.exp(np.array(planted)[condition_of] * responds[:, None])
    perturbed = [k for k, condition in enumerate(conditions) if not condition.is_control]
    penetrance = Penetrance(tuple(conditions[k] for k in perturbed), np.array(share, np.float32)[perturbed])
    # Exact means in every cell: what is found is then no matter of chance.
    counts = sparse.csr_matrix(mu.astype(np.float32))
    effects = of_screen(tuple(conditions), condition_of, counts, sizes, z, Stay(), penetrance)
    assert CELLS_PER_BATCH < 6 * 1024
    for condition, effect, p in zip(conditions, planted, share, strict=True):
        # Effects are means over all cells, shrunk a little.
        np.testing.assert_allclose(effects.shift(condition) / p, effect, atol=0.06)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_means_go_a_share_of_the_way_to_what_is_counted(share):
    """The transport moves all cells, which those of A did in truth and those of B did not; gene 30 is doubled in both.

    What is counted is shrunk in both contexts together, as what is missed of it is.
    """
    t, b = (("cell_type", "T"),), (("cell_type", "B"),)
    conditions = Condition((), t), Condition(("A",), t), Condition(("B",), t), Condition(("A",), b), Condition((), b)
    condition_of = np.repeat(np.arange(5), [300, 90, 90, 60, 300])
    rng = np.random.default_rng(3)
    sizes = np.full(len(condition_of), 10_000, np.float32)
    z = rng.normal(0, 0.5, (len(condition_of), LATENTS)).astype(np.float32)
    moved = np.isin(condition_of, [1, 3])[:, None]
    mu = expected_counts(z + SHIFT * moved, sizes)
    mu[np.isin(condition_of, [1, 2, 3]), 30] *= 2
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(2.0, size=mu.shape) * mu / 2.0).astype(np.float32))
    screen = conditions, condition_of, counts, sizes, z, Move()
    missed, found = of_screen(*screen), of_screen(*screen, share=share)
    observed = observe_shares(counts, sizes, condition_of, conditions, np.arange(len(z)))
    for together in (conditions[1:2] + conditions[3:4], conditions[2:3]):
        counted = [observed.of(c).log_share - observed.of(c.control).log_share for c in together]
        variance = [observed.variance_of_effect(condition) for condition in together]
        shrunk = shrink_over_contexts(np.stack(counted), np.stack(variance))
        for condition, wanted in zip(together, shrunk, strict=True):
            controls = condition_of == conditions.index(condition.control)
            of_controls = autoencoder(), z[controls], sizes[controls]
            told = log_decoded_share(autoencoder(), z[controls] + SHIFT, sizes[controls]) - log_decoded_share(
                *of_controls
            )
            expected = (1 - share) * missed.shift(condition) + share * (wanted - told)
            np.testing.assert_allclose(found.shift(condition), expected, atol=1e-4)
            assert np.abs(wanted - told - missed.shift(condition)).max() > 0.05
